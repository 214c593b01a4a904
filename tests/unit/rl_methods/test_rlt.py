# SPDX-License-Identifier: Apache-2.0
"""RLT: the chunk actor's bound and reference, its losses on batches computed by hand, and when it acts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from fakes.policy_sets import fresh, packed
from fakes.rl_windows import SHAPE, filled, window
from harness.ring import contract
from rl_learner.core.replay import Replay
from rl_methods.base import ChunkSource, PolicyInput, RuntimeConfig, ValidationContext
from rl_methods.common.batch import Batch
from rl_methods.common.critic import CriticConfig
from rl_methods.common.probes import probes
from rl_methods.common.weights import WeightsError, unpack
from rl_methods.rlt.actor import RltActor, RltActorConfig
from rl_methods.rlt.algorithm import Rlt, RltConfig, reference_of
from rl_methods.rlt.policy import RltPolicy

CONTRACT = contract()
CONFIG = RltConfig(
    features=SHAPE.features, steps=SHAPE.steps, action_dim=SHAPE.action_dim,
    critic=CriticConfig(members=2, hidden=(16,), bounded=False), actor_hidden=(16,),
)  # fmt: skip
TRIAL = ValidationContext(CONTRACT, probes(CONTRACT), 2.0)


def make(**changes: Any) -> Rlt:
    torch.manual_seed(0)
    return Rlt(replace(CONFIG, **changes))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(*changes: dict[str, Any]) -> Batch:
    replay = Replay(SHAPE, len(changes))
    for number, change in enumerate(changes):
        replay.add(window(number, **change))
    return replay.rows(torch.arange(len(changes)))


def test_when_the_actor_is_untrained_expect_exactly_the_vlas_chunk() -> None:
    actor = make().acting
    for seed in range(5):
        features, candidate = torch.randn(SHAPE.features, generator=generator(seed)), torch.randn(SHAPE.horizon, 3)
        assert torch.equal(actor.choose(features, candidate), candidate)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_when_weights_are_wild_expect_the_chunk_inside_its_bound_and_a_tail_that_keeps_the_last_change(
    share: float,
) -> None:
    config = RltActorConfig(SHAPE.features, SHAPE.steps, SHAPE.action_dim, bound=(0.1, 0.2, 0.3), sigma=1.0)
    actor = RltActor(config)
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.normal_(generator=generator())
    candidate = torch.randn(SHAPE.horizon, 3, generator=generator(1))
    chunk = actor.choose(torch.randn(SHAPE.features), candidate, generator(), share=share, explore=True)
    change = chunk - candidate
    assert float((change.abs() - share * torch.tensor([0.1, 0.2, 0.3])).max()) <= 1e-6
    torch.testing.assert_close(change[SHAPE.steps :], change[SHAPE.steps - 1].expand(2, -1))
    assert float(change.abs().max()) > 0.02


def test_when_critics_are_fitted_expect_reward_plus_the_discounted_lesser_of_both_at_the_actors_own_chunk() -> None:
    rlt = make(sigma=0.0)
    batch = rows({"reward": 0.5, "discount": 0.9}, {"reward": 1.0, "mask": 0.0})
    after = rlt.critic.values(batch.next_features, batch.next_candidates[:, :1].flatten(2), target=True)[:, :, 0]
    expected = torch.stack([0.5 + 0.9 * after[:, 0].min(), torch.tensor(1.0)])
    torch.testing.assert_close(rlt.target(batch, generator()), expected)


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_when_the_reference_is_hidden_expect_the_pull_towards_the_true_one_scaled_to_the_value(
    dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rlt = make(reference_dropout=dropout, beta=2.0, sigma=0.0)
    seen: list[torch.Tensor] = []

    def values(_features: torch.Tensor, chunks: torch.Tensor) -> torch.Tensor:
        seen.append(chunks[:, 0].detach())
        return torch.tensor([-0.3, -0.5])[:, None, None] + 0.0 * chunks.sum(-1)

    monkeypatch.setattr(rlt.critic, "values", values)
    batch = rows({}, {"valid": 0.0}, {})
    reference = batch.candidates[:, 0].flatten(1)
    step, metrics = rlt.actor_loss(batch, generator())
    # an untrained actor plays what it is shown: the reference, or zeros, as near to them as the bound allows
    distance = dropout * reference[[0, 2]].pow(2).mean(1)
    expected = (2.0 * 0.4 * distance + 0.4).mean()
    assert float(step.loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert metrics["actor/distance"] == pytest.approx(float(distance.mean()), rel=1e-5)
    torch.testing.assert_close(seen[0], reference - dropout * reference.clamp(-0.5, 0.5))


def test_when_a_human_drove_expect_their_chunk_as_the_reference_and_elsewhere_the_first_candidate() -> None:
    batch = rows({"human": 0.0}, {"human": 0.5}, {"human": 1.0})
    found = reference_of(batch).unflatten(1, (SHAPE.steps, SHAPE.action_dim))
    assert torch.equal(found[0], batch.candidates[0, 0])
    assert torch.equal(found[1:], batch.actions[1:])


def test_when_it_learns_expect_an_actor_step_for_two_of_the_critics_and_none_in_the_warm_up() -> None:
    rlt, replay = make(actor_every=2), filled(20)

    def steps_of(update: Any) -> list[bool]:
        out = []
        for seed in range(4):
            before = rlt.policy.body[-1].bias.clone()
            update(replay.sample(8, generator(seed)), generator(seed))
            out.append(not torch.equal(before, rlt.policy.body[-1].bias))
        return out

    assert steps_of(rlt.offline_update) == [False] * 4
    assert steps_of(rlt.update) == [False, True, False, True]


def situation(**changes: Any) -> PolicyInput:
    return replace(probes(CONTRACT)[1], **changes)


def loaded(config: RltActorConfig | None = None, **changes: Any) -> RltPolicy:
    config = config or RltActorConfig(CONTRACT.feature_dim, action_dim=CONTRACT.action_dim, hidden=(16,))
    manifest, data = packed(CONTRACT, fresh(RltActor, config) | changes, config, method="rlt", version=4)
    policy = RltPolicy()
    policy.install(policy.prepare(unpack(manifest, data, method="rlt", contract_hash=CONTRACT.hash()), TRIAL))
    return policy


def test_when_the_critical_phase_is_over_or_has_not_begun_expect_the_vlas_chunk() -> None:
    policy, given = loaded(), situation()
    inside = policy.act(given, RuntimeConfig())
    assert (inside.source, inside.policy_version, inside.candidate) == (ChunkSource.ACTOR, 4, 0)
    assert 0.0 < abs(inside.chunk - given.candidates[0]).max() <= 0.5 + 1e-6
    for other in (
        policy.act(situation(critical_phase=False), RuntimeConfig()),
        RltPolicy().act(given, RuntimeConfig()),
        policy.act(given, RuntimeConfig(edit_scale=0.0)),
    ):
        assert (other.source, other.policy_version) == (ChunkSource.BASE, 0)
        assert (other.chunk == given.candidates[0]).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"bound": (2.5,)}, "probe"), ({"features": 73}, "shape"), ({"steps": 17}, "shape"), ({"action_dim": 6}, "shape")],
)
def test_when_an_actor_does_not_suit_the_robot_expect_refusal(changes: dict[str, Any], reason: str) -> None:
    fields = {"features": CONTRACT.feature_dim, "action_dim": CONTRACT.action_dim, "hidden": (16,)}
    with pytest.raises(WeightsError) as caught:
        loaded(RltActorConfig(**fields | changes))
    assert caught.value.reason == reason


def test_when_an_actors_numbers_overflow_expect_refusal() -> None:
    with pytest.raises(WeightsError, match="not finite"):
        loaded(**{"policy.body.3.weight": torch.full((56, 16), 3e38), "policy.body.3.bias": torch.full((56,), -3e38)})


@pytest.mark.parametrize(
    "change",
    [{"beta": -1.0}, {"beta": float("nan")}, {"reference_dropout": 1.5}, {"bound": (0.1,) * 4}, {"bound": (0.0,)},
     {"sigma": float("inf")}, {"actor_every": 0}, {"actor_rate": 0.0}],
)  # fmt: skip
def test_when_a_setting_cannot_work_expect_its_name_in_the_error(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        make(**change)
