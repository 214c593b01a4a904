# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch

from fakes.rl_windows import SHAPE, filled, window
from rl_learner.core.checkpoint import digest
from rl_learner.core.replay import Replay
from rl_methods.common.critic import CriticConfig
from rl_methods.common.scoring import Reduce
from rl_methods.expo.algorithm import Expo, ExpoConfig

CONFIG = ExpoConfig(
    features=SHAPE.features,
    steps=SHAPE.steps,
    action_dim=SHAPE.action_dim,
    edit_knots=SHAPE.steps,
    critic=CriticConfig(members=4, hidden=(32,), learning_rate=3e-3),
    edit_hidden=(32,),
    edit_rate=3e-3,
    best_of=4,
    backup_candidates=4,
)


def make(**changes):
    torch.manual_seed(0)
    return Expo(replace(CONFIG, **changes))


def choose(expo, features, candidates, generator=None, **options):
    nothing = torch.zeros(1, 0)
    state = expo.acting.state(features[None], nothing, nothing)[0]
    return expo.acting.choose(state, candidates, generator, rule=expo.config.rule(), **options)


def situation(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE.features, generator=generator), torch.randn(4, 4, 3, generator=generator)


def test_when_the_edit_scale_vanishes_expect_the_base_chunk_itself():
    expo = make(edit_scale=(1e-6,), best_of=1)
    for seed in range(5):
        features, candidates = situation(seed)
        pick = choose(expo, features, candidates, torch.Generator().manual_seed(0), explore=True)
        torch.testing.assert_close(pick.chunk, candidates[0], atol=1e-5, rtol=0.0)


def test_when_no_share_of_the_edit_is_allowed_and_n_is_one_expect_exactly_the_base():
    features, candidates = situation()
    pick = choose(make(best_of=1), features, candidates, share=0.0)
    assert pick.candidate == 0
    assert not pick.edited
    assert torch.equal(pick.chunk, candidates[0])


def test_when_the_critic_is_untrained_and_a_margin_is_asked_expect_few_edited_picks():
    edited = {}
    for margin in (0.0, 0.2):
        expo = make(margin=margin, select=Reduce.LOWER)
        picks = [
            choose(expo, *situation(seed), torch.Generator().manual_seed(seed), explore=True) for seed in range(60)
        ]
        edited[margin] = sum(p.edited for p in picks) / 60
    assert edited[0.2] <= 0.05
    assert edited[0.0] > edited[0.2]


def test_when_a_chunk_is_edited_expect_its_tail_to_keep_the_last_edit():
    expo = make(margin=-10.0)
    features, candidates = situation()
    pick = choose(expo, features, candidates, torch.Generator().manual_seed(0), explore=True)
    assert pick.edited
    change = pick.chunk - candidates[pick.candidate]
    torch.testing.assert_close(change[SHAPE.steps :], change[SHAPE.steps - 1].expand(2, -1))
    assert float(change.abs().max()) <= 0.2 + 1e-6


@pytest.mark.parametrize("knots", [1, 2])
def test_when_an_edit_has_few_knots_expect_it_to_be_a_line_over_the_steps(knots):
    expo = Expo(replace(CONFIG, margin=-10.0, steps=3, edit_knots=knots))
    features, candidates = situation()
    pick = choose(expo, features, candidates, torch.Generator().manual_seed(0), explore=True)
    change = (pick.chunk - candidates[pick.candidate])[:3]
    torch.testing.assert_close(change[1], 0.5 * (change[0] + change[2]), atol=1e-5, rtol=1e-4)
    assert torch.allclose(change[0], change[2], atol=1e-5) == (knots == 1)


def test_when_features_come_in_other_units_expect_the_scaler_to_undo_them():
    plain, scaled = make(select=Reduce.LOWER), make(select=Reduce.LOWER)
    features, candidates = situation()
    scaled.fit_scaler(torch.randn(500, SHAPE.features))
    scaled.scaler.mean.fill_(7.0)
    scaled.scaler.std.fill_(100.0)
    first, second = choose(plain, features, candidates), choose(scaled, features * 100.0 + 7.0, candidates)
    torch.testing.assert_close(first.scores, second.scores, atol=1e-5, rtol=1e-4)


def test_when_explore_is_off_expect_the_same_choice_every_time():
    expo = make(select=Reduce.LOWER)
    picks = [choose(expo, *situation()) for _ in range(3)]
    assert all(torch.equal(p.chunk, picks[0].chunk) for p in picks)


def test_when_a_window_is_terminal_expect_nothing_to_be_bootstrapped():
    expo = make()
    replay = Replay(SHAPE, 4)
    replay.add(window(0, reward=0.7, mask=0.0, mc_return=float("nan")))
    batch = replay.rows(torch.tensor([0]))
    assert float(expo.target(batch, torch.Generator().manual_seed(0), 0.0)) == pytest.approx(0.7)


def test_when_monte_carlo_is_asked_for_expect_it_where_it_is_known_and_a_backup_elsewhere():
    expo = make()
    replay = Replay(SHAPE, 4)
    replay.add(window(0, mc_return=0.9))
    replay.add(window(1, mc_return=float("nan"), mask=0.0, reward=0.25))
    target = expo.target(replay.rows(torch.arange(2)), torch.Generator().manual_seed(0), 1.0)
    torch.testing.assert_close(target, torch.tensor([0.9, 0.25]))


def test_when_the_backup_is_on_the_fly_expect_a_value_no_lower_than_of_the_first_candidate_on_average():
    expo, plain = make(edit=False), make(edit=False, otf_backup=False)
    batch = filled(60).sample(256, torch.Generator().manual_seed(0))
    best = expo.value_of(batch.next_features, batch.next_candidates, torch.Generator().manual_seed(1))
    first = plain.value_of(batch.next_features, batch.next_candidates, torch.Generator().manual_seed(1))
    assert float(best.mean()) > float(first.mean())


@pytest.mark.parametrize("changes", [{}, {"edit": False}, {"otf_backup": False}, {"best_of": 1}])
def test_when_an_ablation_is_switched_expect_updates_that_stay_finite(changes):
    expo = make(**changes)
    generator = torch.Generator().manual_seed(0)
    replay = filled(20)
    for _ in range(5):
        metrics = expo.update(replay.sample(16, generator), generator)
    assert all(torch.isfinite(torch.tensor(v)) for v in metrics.values())
    assert ("edit/entropy" in metrics) == changes.get("edit", True)


def test_when_successes_are_imitated_expect_the_edit_that_makes_them_of_the_base():
    expo = make(imitation_weight=1.0, q_weight=0.0, alpha=0.0, edit_scale=(0.5,))
    replay = Replay(SHAPE, 64)
    for i in range(64):
        w = window(i)
        chunks = w.candidates.copy()
        replay.add(replace(w, actions=chunks[0] + 0.3, candidates=chunks[:1].repeat(4, axis=0)))
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        expo.guard.take(expo.edit_losses(replay.sample(32, generator), generator)[0])
    batch = replay.sample(32, generator)
    edit = expo.edit(batch.features, batch.candidates[:, 0].flatten(1)).mode()
    assert (edit - 0.3).abs().mean().item() < 0.05


def imitated(rows, **changes):
    """Mean size of the edits of all candidates, after imitation of the rows alone."""
    expo = make(imitation_weight=1.0, q_weight=0.0, alpha=0.0, edit_scale=(0.5,), **changes)
    replay = Replay(SHAPE, 64)
    for row in rows:
        replay.add(row)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        expo.guard.take(expo.edit_losses(replay.sample(32, generator), generator)[0])
    batch = replay.sample(32, generator)
    base = batch.candidates.flatten(2)
    return expo.edit(batch.features[:, None].expand(-1, base.shape[1], -1), base).mode().abs().mean().item()


def of_two_minds(i):
    """A window whose base proposes one of two things, half of each."""
    w = window(i)
    chunks = np.stack([np.full_like(w.candidates[0], value) for value in (0.4, 0.4, -0.4, -0.4)])
    return replace(w, candidates=chunks, actions=chunks[2 * (i % 2)])


def test_when_a_base_of_two_minds_succeeds_with_both_expect_no_edit_towards_their_mean():
    assert imitated([of_two_minds(i) for i in range(64)]) < 0.05


def test_when_a_person_does_one_of_them_expect_every_candidate_edited_towards_it():
    rows = [of_two_minds(i) for i in range(64)]
    assert imitated([replace(r, actions=np.full_like(r.actions, 0.4), human=1.0) for r in rows]) > 0.2


def test_when_a_person_refused_a_chunk_expect_its_value_to_fall_below_what_they_did_instead():
    expo = make(refusal_weight=1.0)
    replay = Replay(SHAPE, 64)
    for i in range(64):
        replay.add(window(i, refused=1.0, human=1.0, mc_return=1.0, mask=0.0, reward=1.0))
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        expo.guard.take([expo.critic_loss(replay.sample(32, generator), generator, 1.0)[0]])
    batch = replay.sample(64, generator)
    both = torch.stack([batch.actions.flatten(1), batch.proposed.flatten(1)], dim=1)
    values = expo.critic.values(batch.features, both).mean(0)
    assert float((values[:, 0] > values[:, 1]).float().mean()) > 0.95


def test_when_weights_are_averaged_expect_their_mean_of_the_first_updates_to_act_and_the_newest_to_learn():
    expo, plain = make(acting_polyak=0.01), make()
    drawn = []
    for step in range(4):
        batch = filled(20).sample(16, torch.Generator().manual_seed(step))
        expo.update(batch, torch.Generator().manual_seed(step))
        plain.update(batch, torch.Generator().manual_seed(step))
        drawn.append(plain.policy_weights())
    acting = expo.policy_weights()
    assert acting.keys() == drawn[0].keys()
    for name, value in acting.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.stack([each[name] for each in drawn]).mean(0))
    assert digest(expo.edit.state_dict()) == digest(plain.edit.state_dict())


@pytest.mark.parametrize("acting_polyak", [1.0, 0.1])
def test_when_resumed_expect_the_same_bits_as_without_a_break(acting_polyak):
    replay = filled(20)

    def go(expo, first, last):
        for step in range(first, last):
            generator = torch.Generator().manual_seed(step)
            expo.update(replay.sample(16, generator), generator)
        return expo

    whole = go(make(imitation_weight=0.5, acting_polyak=acting_polyak), 0, 6)
    half = go(make(imitation_weight=0.5, acting_polyak=acting_polyak), 0, 3)
    torch.manual_seed(123)
    other = Expo(half.config)
    other.restore(half.state())
    assert digest(go(other, 3, 6).state()) == digest(whole.state())


def test_when_the_default_target_entropy_is_used_expect_it_to_be_reachable():
    expo = make(edit_scale=(0.05, 0.2, 1.0))
    widest = float(torch.log(2.0 * expo.config.scale()).sum())
    assert expo.temperature.target_entropy < widest


@pytest.mark.parametrize(
    "changes",
    [{"edit_scale": (0.1,) * 4}, {"mc_share": 1.5}, {"best_of": 0}, {"edit_knots": 9}, {"acting_polyak": 0.0}],
)
def test_when_a_setting_cannot_work_expect_its_name_in_the_error(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        replace(CONFIG, **changes)


def test_when_a_person_acts_where_the_policy_mostly_waits_expect_the_weights_to_decide_who_is_imitated():
    waits = np.zeros_like(window(0).candidates)
    rows = []
    for i in range(64):
        human = float(i % 4 == 0)
        actions = np.full_like(window(i).actions, 0.4 * human)
        rows.append(replace(window(i), features=window(0).features, candidates=waits, actions=actions, human=human))
    assert imitated(rows) < 0.1
    assert imitated(rows, own_weight=0.05) > 0.3
