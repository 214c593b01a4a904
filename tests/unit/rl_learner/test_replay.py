# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from fakes.rl_windows import SHAPE, episode_of, filled, window
from rl_learner.core.checkpoint import digest
from rl_learner.core.replay import Replay, mixed, monte_carlo
from rl_methods.base import VLA_DATA, DataSpec
from rl_methods.common.batch import WindowShape


def test_when_more_is_added_than_fits_expect_the_oldest_to_go():
    replay = filled(7, capacity=5)
    assert len(replay) == 5
    assert replay.added == 7
    kept = replay.rows(torch.arange(5)).reward
    assert sorted(kept.tolist()) == [2.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize("name", ["features", "actions", "candidates", "reward"])
def test_when_a_number_is_not_finite_expect_the_window_to_be_refused(name):
    bad = np.full(SHAPE.of(name), np.nan, dtype=np.float32)
    with pytest.raises(ValueError, match=f"{name} is not finite"):
        Replay(SHAPE, 4).add(window(0, **{name: bad}))


def test_when_the_return_is_not_known_expect_it_to_be_kept_as_unknown():
    replay = Replay(SHAPE, 4)
    slot = replay.add(window(0, mc_return=float("nan")))
    assert bool(replay.rows(torch.tensor([slot])).mc_return.isnan().all())


def test_when_a_shape_is_wrong_expect_the_name_in_the_error():
    with pytest.raises(ValueError, match="actions has shape"):
        Replay(SHAPE, 4).add(window(0, actions=np.zeros((3, 3), np.float32)))


def test_when_batches_are_mixed_expect_the_share_exactly():
    prior, online = Replay(SHAPE, 8), Replay(SHAPE, 8)
    prior.add(window(0, reward=-1.0))
    online.add(window(1, reward=1.0))
    rewards = mixed(prior, online, 0.25, 40, torch.Generator().manual_seed(0)).reward
    assert int((rewards < 0).sum()) == 10
    assert bool((mixed(None, online, 0.25, 8, torch.Generator()).reward > 0).all())
    assert bool((mixed(prior, Replay(SHAPE, 8), 0.25, 8, torch.Generator()).reward < 0).all())


def test_when_nothing_is_held_expect_a_refusal_to_sample():
    with pytest.raises(ValueError, match="empty"):
        Replay(SHAPE, 8).sample(1)


def test_when_the_same_generator_draws_expect_the_same_batch():
    replay = filled(9)
    draws = [replay.sample(16, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert bool((draws[0].features == draws[1].features).all())


@pytest.mark.parametrize("count", [0, 3, 5, 8])
def test_when_restored_expect_the_same_rows_cursor_and_continuation(count):
    first = filled(count, capacity=5)
    second = Replay(SHAPE, 5)
    second.restore(first.state())
    for replay in (first, second):
        replay.add(window(99, reward=99.0))
    assert digest(first.state()) == digest(second.state())


def test_when_a_state_does_not_fit_expect_a_refusal():
    with pytest.raises(ValueError, match="do not fit"):
        Replay(SHAPE, 3).restore(filled(5, capacity=5).state())


def held(shape: WindowShape, spec: DataSpec, windows: int = 60) -> Replay:
    replay = Replay(shape, windows, spec)
    for made in episode_of(shape, windows):
        replay.add(made)
    return replay


@pytest.mark.parametrize("fields", [{"candidates", "next_candidates"}, {"candidates", "noise"}, VLA_DATA])
def test_when_100k_windows_of_a_large_vla_are_held_expect_at_most_400_mb(fields):
    shape = WindowShape(features=458, steps=8, action_dim=7, candidates=8, horizon=16, noise_dim=7)
    assert held(shape, DataSpec(frozenset(fields))).nbytes / 60 * 100_000 <= 400e6


def test_when_windows_follow_one_another_expect_each_decision_once_and_every_field_as_it_was_given():
    windows = list(episode_of(SHAPE, 20))
    replay = Replay(SHAPE, 64)
    for made in windows:
        replay.add(made)
    assert len(replay._decisions) == 20
    rows = replay.rows(torch.arange(20))
    for name in ("features", "next_features", "candidates", "next_candidates", "noise", "actions", "proposed"):
        given = np.stack([getattr(made, name) for made in windows])
        assert np.array_equal(getattr(rows, name).numpy(), given.astype(np.float16).astype(np.float32))


def test_when_episodes_push_out_the_oldest_expect_their_decisions_gone_and_the_others_whole():
    replay, windows = Replay(SHAPE, 12), [made for seed in range(5) for made in episode_of(SHAPE, 7, seed)]
    for made in windows:
        replay.add(made)
    assert len(replay._decisions) <= 14
    rows = replay.rows(torch.arange(12))
    kept = windows[-12:]
    order = [(slot - replay.cursor) % 12 for slot in range(12)]
    for name in ("features", "next_features", "noise", "next_candidates"):
        given = np.stack([getattr(kept[place], name) for place in order])
        assert np.array_equal(getattr(rows, name).numpy(), given.astype(np.float16).astype(np.float32))


def test_when_two_decisions_differ_in_their_noise_alone_expect_each_with_its_own():
    first = window(0)
    other = window(1, features=first.features, candidates=first.candidates)
    replay = Replay(SHAPE, 4)
    for made in (first, other):
        replay.add(made)
    noise = replay.rows(torch.arange(2)).noise.numpy()
    assert np.array_equal(noise, np.stack([first.noise, other.noise]).astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("count", [5, 12, 30])
def test_when_a_run_goes_on_after_a_restore_expect_the_same_state_as_without_a_break(count):
    windows = [made for seed in range(6) for made in episode_of(SHAPE, 7, seed)]
    whole, back = Replay(SHAPE, 12), Replay(SHAPE, 12)
    for made in windows[:count]:
        whole.add(made)
    back.restore(whole.state())
    for made in windows[count:]:
        whole.add(made)
        back.add(made)
    assert digest(whole.state()) == digest(back.state())


def test_when_a_state_is_of_an_earlier_release_expect_a_refusal_that_says_what_to_do():
    state = {name: value for name, value in filled(3).state().items() if name != "decisions"}
    with pytest.raises(ValueError, match="earlier release: begin another run"):
        Replay(SHAPE, 64).restore(state)


def test_when_returns_are_summed_backwards_expect_the_discounted_ones():
    assert monte_carlo([0.0, 0.0, 1.0], [1.0, 1.0, 0.0], 0.5) == [0.25, 0.5, 1.0]
    assert monte_carlo([1.0, 1.0], [0.0, 0.0], 0.5) == [1.0, 1.0]
