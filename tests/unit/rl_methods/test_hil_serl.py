# SPDX-License-Identifier: Apache-2.0
"""HIL-SERL's learner half: each loss by hand, who trains the eyes, determinism, state, settings."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch

from fakes import hil_serl as fake
from rl_methods.base import IMAGES, PROPRIO, DataSpec
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.config import read_method_config
from rl_methods.hil_serl.algorithm import HilSerl
from rl_methods.hil_serl.gripper import Choice, best, choice_of
from rl_methods.registry import encoder_of, entry, settings_file


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def updated(learner: HilSerl, count: int = 3) -> HilSerl:
    random = generator()
    for number in range(count):
        learner.update(fake.batch(seed=number), random)
    return learner


def test_when_the_critics_learn_expect_reward_and_the_discounted_minimum_of_the_targets_without_entropy() -> None:
    learner, batch = fake.learner(alpha=5.0), fake.batch(mask=torch.tensor([1.0, 0.0] * 4))
    seen = learner._seen(batch, generator(1))
    step, metrics = learner._critic_loss(batch, seen, generator(2))
    with torch.no_grad():
        knots = learner.acting.arm(seen.next_state).sample(generator(2))[0]
        chunk = learner.acting.arm.expand(knots).flatten(1)
        both = learner.critic.target(seen.next_state, chunk[:, None])[..., 0]  # [2, B]
        target = batch.reward + 0.9 * batch.mask * torch.minimum(both[0], both[1])
        values = learner.critic.online(seen.state, batch.actions[..., :2].flatten(1)[:, None])[..., 0]
        wanted = (values - target).pow(2).mean()
    assert metrics["critic/target"] == pytest.approx(float(target.mean()), rel=1e-5)
    assert float(step.loss) == pytest.approx(float(wanted), rel=1e-5)


def test_when_windows_are_not_valid_expect_the_loss_of_the_others() -> None:
    learner, batch = fake.learner(shift=0), fake.batch(valid=torch.tensor([1.0] * 4 + [0.0] * 4))
    half = fake.batch()
    for name in ("reward", "actions"):
        changed = getattr(half, name).clone()
        changed[4:] = 100.0
        half = type(half)(**{**vars(half), name: changed})
    other = type(half)(**{**vars(half), "valid": batch.valid})
    for loss in (lambda b: learner._critic_loss(b, learner._seen(b, generator()), generator())[0],
                 lambda b: learner._gripper_loss(b, learner._seen(b, generator()))[0]):  # fmt: skip
        assert float(loss(batch).loss) == pytest.approx(float(loss(other).loss), rel=1e-5)


def test_when_the_gripper_critic_learns_expect_double_dqn_with_the_price_of_a_toggle() -> None:
    learner, batch = fake.learner(toggle_penalty=0.25, shift=0), fake.batch(size=16)
    with torch.no_grad():  # so that online and target disagree
        learner.gripper_target[-1].bias.add_(torch.tensor([0.3, -0.2, 0.7]))
    seen = learner._seen(batch, generator())
    step, metrics = learner._gripper_loss(batch, seen)
    with torch.no_grad():
        online, after = learner.acting.gripper(seen.next_state), learner.gripper_target(seen.next_state)
        total, toggles = 0.0, 0
        for row in range(16):
            was_open, will_be = bool(batch.proprio[row, -1] > 0.8), bool(batch.next_proprio[row, -1] > 0.8)
            wanted = bool(batch.actions[row, -1, -1] > 0.5)
            choice = 1 if wanted == was_open else (2 if wanted else 0)
            allowed = [0, 1] if will_be else [1, 2]
            follow = max(allowed, key=lambda k: float(online[row, k]))  # noqa: B023 - used at once
            toggles += choice != 1
            target = float(batch.reward[row]) - 0.25 * (choice != 1) + 0.9 * float(after[row, follow])
            total += (float(learner.acting.gripper(seen.state)[row, choice]) - target) ** 2
    assert 0 < toggles < 16 and metrics["gripper/toggled"] == pytest.approx(toggles / 16)
    assert float(step.loss) == pytest.approx(total / 16, rel=1e-4)


def test_when_the_actor_learns_expect_it_to_climb_the_mean_of_both_critics() -> None:
    learner, batch = fake.learner(alpha=0.5), fake.batch()
    state = learner._seen(batch, generator()).state.detach()
    steps, metrics = learner._actor_losses(state, generator(3))
    with torch.no_grad():
        knots, log_prob = learner.acting.arm(state).sample(generator(3))
        values = learner.critic.online(state, learner.acting.arm.expand(knots).flatten(1)[:, None])[..., 0]
    assert float(steps[0].loss) == pytest.approx(float((0.5 * log_prob - values.mean(0)).mean()), rel=1e-5)
    gap = -float(log_prob.mean()) + 4 / 2  # target entropy -d/2, d = 2 knots x 2 dims
    assert float(steps[1].loss) == pytest.approx(0.5 * gap, rel=1e-4)
    assert metrics["actor/entropy"] == pytest.approx(-float(log_prob.mean()), rel=1e-5)


def test_when_the_distribution_is_squashed_expect_a_density_that_adds_up_to_one() -> None:
    learner = fake.learner(steps=1, knots=1, action_dim=2)
    policy = learner.acting.arm(torch.zeros(1, learner.acting.config.state))
    places = torch.linspace(-1 + 1e-5, 1 - 1e-5, 20_001)[:, None]
    density = policy.log_prob(places.unsqueeze(1)).exp().detach().flatten()
    assert float(torch.trapezoid(density, places[:, 0])) == pytest.approx(1.0, abs=2e-3)


def test_when_losses_are_derived_expect_the_eyes_moved_by_the_critics_alone() -> None:
    learner, batch = fake.learner(), fake.batch()
    seen = learner._seen(batch, generator())
    eyes = list(learner.acting.encoder.parameters())
    critic = learner._critic_loss(batch, seen, generator())[0].loss
    moved = torch.autograd.grad(critic, eyes, retain_graph=True)
    assert all(float(g.abs().sum()) > 0.0 for g in moved[-4:]) and not seen.next_state.requires_grad
    others = [learner._gripper_loss(batch, seen)[0], *learner._actor_losses(seen.state.detach(), generator())[0]]
    for step in others:
        assert all(g is None for g in torch.autograd.grad(step.loss, eyes, allow_unused=True, retain_graph=True))
    before = [p.detach().clone() for p in eyes]
    learner.update(batch, generator())
    assert any(not torch.equal(a, b) for a, b in zip(before, eyes, strict=True))


def test_when_seeds_are_equal_expect_equal_learners_and_otherwise_others() -> None:
    one, same, other = (updated(fake.learner(seed)).state() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_when_a_learner_is_restored_expect_it_to_go_on_as_if_it_had_not_stopped() -> None:
    first, second = updated(fake.learner(0)), fake.learner(9)
    second.restore(first.state())
    for learner in (first, second):
        learner.update(fake.batch(seed=7), generator(7))
    one, other = first.state(), second.state()
    assert sorted(one) == sorted(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_when_a_state_of_other_eyes_comes_expect_refusal() -> None:
    with pytest.raises(CheckpointError, match="encoder"):
        fake.learner().restore(fake.learner(encoder_maps=8).state())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"encoder": "eyes"}, "encoder is 'eyes'"), ({"shift": -1}, "shift is -1"), ({"shift": 16}, "shift is 16"),
        ({"knots": 3}, "knots is 3, allowed: 1..2"), ({"bound": 0.0}, "bound is 0.0"), ({"bound": math.nan}, "bound"),
        ({"alpha": -1.0}, "alpha is -1.0"), ({"alpha": math.nan}, "alpha is nan"), ({"actor_rate": 0.0}, "actor_rate"),
        ({"toggle_penalty": math.inf}, "toggle_penalty is inf"), ({"open_above": 1.0}, "open_above is 1.0"),
        ({"hidden": ()}, "hidden is ()"), ({"gripper_open": -1.0}, "gripper_open is -1.0"),
        ({"encoder_maps": 5}, "maps is 5"), ({"image_size": 18}, "image_size is 18"),
    ],
)  # fmt: skip
def test_when_a_setting_cannot_work_expect_refusal_that_names_it(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        fake.config(**change)


def test_when_the_vla_has_the_eyes_expect_no_images_asked_for_and_features_read() -> None:
    blind = fake.learner(encoder="features")
    assert blind.data_spec == DataSpec(PROPRIO, human_in_prior=True) and blind.acting.config.features == 6
    batch = fake.batch(images=torch.zeros(8, 0, dtype=torch.uint8), next_images=torch.zeros(8, 0, dtype=torch.uint8))
    blind.fit_scaler(batch.features)
    blind.update(batch, generator())
    assert fake.learner().data_spec.fields == PROPRIO | IMAGES


def test_when_shipped_settings_are_read_expect_what_was_published() -> None:
    read = read_method_config(settings_file("hil_serl"))
    assert (read.critic.members, read.settings["alpha"], read.settings["toggle_penalty"]) == (2, 0.01, 0.02)
    assert read.schedule.base_episodes == 0 and read.image_size == read.settings["image_size"]
    assert entry("hil_serl").needs_weights and encoder_of("hil_serl") == "images"


def test_when_choices_of_a_batch_are_read_expect_impossible_ones_never() -> None:
    batch = fake.batch(size=64)
    opened = batch.proprio[:, -1] > 0.8
    choices = choice_of(batch.actions[:, -1, -1], opened)
    assert not bool(((choices == Choice.OPEN) & opened).any() | ((choices == Choice.CLOSE) & ~opened).any())
    assert not bool((best(torch.randn(64, 3), opened)[opened] == Choice.OPEN).any())
