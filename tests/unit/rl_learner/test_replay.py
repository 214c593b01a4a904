# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from fakes.rl_windows import SHAPE, filled, window
from rl_learner.core.checkpoint import digest
from rl_learner.core.replay import Replay, mixed, monte_carlo


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


def test_when_100k_windows_of_the_pocket_size_are_planned_expect_less_than_a_gigabyte():
    from rl_learner.core.replay import ReplayShape

    shape = ReplayShape(features=138, steps=8, action_dim=7, candidates=8, horizon=16, noise_dim=7)
    assert Replay(shape, 1000).nbytes * 100 < 1_000_000_000


def test_when_returns_are_summed_backwards_expect_the_discounted_ones():
    assert monte_carlo([0.0, 0.0, 1.0], [1.0, 1.0, 0.0], 0.5) == [0.25, 0.5, 1.0]
    assert monte_carlo([1.0, 1.0], [0.0, 0.0], 0.5) == [1.0, 1.0]
