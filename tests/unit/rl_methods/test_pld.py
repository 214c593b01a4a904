# SPDX-License-Identifier: Apache-2.0
"""PLD: Cal-QL's loss by hand, the residual's bound, SAC's losses, and the step at which the residual takes over."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
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
from rl_methods.pld.actor import PldActor, PldActorConfig
from rl_methods.pld.algorithm import Pld, PldConfig
from rl_methods.pld.cal_ql import Sampled, conservative_gap
from rl_methods.pld.policy import PldPolicy

CONTRACT = contract()
CONFIG = PldConfig(
    features=SHAPE.features, steps=SHAPE.steps, action_dim=SHAPE.action_dim, knots=2, actor_hidden=(16,),
    critic=CriticConfig(members=2, hidden=(16,), bounded=False),
)  # fmt: skip
TRIAL = ValidationContext(CONTRACT, probes(CONTRACT), 2.0)
EXPLORE, CALM = RuntimeConfig(), RuntimeConfig(explore=False)


def make(**changes: Any) -> Pld:
    torch.manual_seed(0)
    return Pld(replace(CONFIG, **changes))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(*changes: dict[str, Any]) -> Batch:
    replay = Replay(SHAPE, len(changes))
    for number, change in enumerate(changes):
        replay.add(window(number, **change))
    return replay.rows(torch.arange(len(changes)))


def test_when_the_conservative_gap_is_computed_by_hand_expect_the_floor_under_the_policy_alone() -> None:
    data = torch.tensor([[0.5, 0.2]])
    uniform = Sampled(torch.tensor([[[0.1, 0.3], [0.1, 0.3]]]), torch.tensor(math.log(0.25)))
    here = Sampled(torch.tensor([[[0.2], [0.2]]]), torch.tensor([[0.7], [0.7]]))
    there = Sampled(torch.tensor([[[0.9], [0.9]]]), torch.tensor([[-0.4], [-0.4]]))
    found = conservative_gap(data, uniform, [here, there], torch.tensor([0.6, float("nan")]))
    log4 = math.log(4.0)
    known = math.log(sum(map(math.exp, (0.1 + log4, 0.3 + log4, 0.6 - 0.7, 0.9 + 0.4)))) - 0.5
    unknown = math.log(sum(map(math.exp, (0.1 + log4, 0.3 + log4, 0.2 - 0.7, 0.9 + 0.4)))) - 0.2
    torch.testing.assert_close(found, torch.tensor([[known, unknown]]))


def test_when_values_are_below_the_return_expect_no_gradient_from_the_policys_samples() -> None:
    values = torch.full((1, 1, 3), 0.2, requires_grad=True)
    uniform = Sampled(torch.zeros(1, 1, 1), torch.zeros(()))
    for mc_return, is_pushed in ((0.5, False), (0.1, True)):
        gap = conservative_gap(
            torch.zeros(1, 1), uniform, [Sampled(values, torch.zeros(1, 3))], torch.tensor([mc_return])
        )
        assert bool(torch.autograd.grad(gap.sum(), values)[0].any()) == is_pushed


def test_when_densities_are_measured_from_the_uniform_one_expect_the_same_gap_but_for_a_constant() -> None:
    draw = generator()
    values = [torch.randn(2, 3, 4, generator=draw) for _ in range(2)]
    densities, data = torch.randn(3, 4, generator=draw), torch.randn(2, 3, generator=draw)
    mc_return, widest = torch.full((3,), -9.0), 1.7
    plain = conservative_gap(
        data, Sampled(values[0], torch.tensor(-widest)), [Sampled(values[1], densities)], mc_return
    )
    shifted = conservative_gap(
        data, Sampled(values[0], torch.zeros(())), [Sampled(values[1], densities + widest)], mc_return
    )
    torch.testing.assert_close(plain - shifted, torch.full((2, 3), widest))


def test_when_the_warm_up_runs_expect_successes_alone_to_count_and_the_residual_to_be_held() -> None:
    pld = make()
    before = {name: value.clone() for name, value in pld.policy.state_dict().items()}
    batch = rows({"success": 1.0}, {"success": 0.0})
    other = replace(batch, actions=batch.actions + torch.tensor([0.0, 3.0])[:, None, None])
    losses = [pld.offline_update(each, generator())["critic/loss"] for each in (batch,)]
    again = make()
    losses += [again.offline_update(each, generator())["critic/loss"] for each in (other,)]
    assert losses[0] == losses[1]
    assert all(torch.equal(before[name], value) for name, value in pld.policy.state_dict().items())
    assert math.isfinite(make().offline_update(rows({"success": 0.0}), generator())["critic/conservative_gap"])


def test_when_a_target_is_computed_by_hand_expect_the_lesser_critic_at_base_and_residual_minus_the_entropys_price() -> (
    None
):
    pld = make(alpha=0.1)
    batch = rows({"reward": 0.5, "discount": 0.9}, {"reward": 1.0, "mask": 0.0})
    base = batch.next_candidates[:, 0].flatten(1)
    knots, log_prob = pld.policy(batch.next_features, base).sample(generator(3))
    # K = C: the knots are the residual; 6 of them in (-0.3, 0.3)
    after = pld.critic.values(batch.next_features, (base + knots)[:, None], target=True).amin(0)[:, 0]
    soft = after - 0.1 * (log_prob + 6 * math.log(0.6))
    expected = torch.stack([0.5 + 0.9 * soft[0], torch.tensor(1.0)])
    torch.testing.assert_close(pld.target(batch, generator(3)), expected)


def test_when_the_residual_is_as_wide_as_its_box_expect_an_entropy_near_zero_and_never_above() -> None:
    pld = make()
    batch = filled(64).sample(64, generator())
    entropies = []
    for log_std in (-5.0, 0.0, 1.0):  # narrow, as flat as a squashed Gaussian can be, and heaped at both ends
        with torch.no_grad():
            pld.policy.body[-1].bias[6:].fill_(log_std)
        entropies.append(pld.actor_losses(batch, generator())[1]["actor/entropy"])
    assert max(entropies) < 0.05 * 6
    assert entropies[0] < -3.0 * 6 < -0.2 * 6 < entropies[1]


def test_when_the_residual_acts_expect_it_inside_xi_on_the_first_candidate() -> None:
    policy, given = loaded(), situation(episode_step=1000)
    for runtime in (EXPLORE, CALM, replace(EXPLORE, edit_scale=0.5)):
        output = policy.act(given, runtime)
        change = np.abs(output.chunk - given.candidates[0])
        assert (output.source, output.candidate, output.policy_version) == (ChunkSource.EDITED, 0, 4)
        assert 0.0 < change.max() <= 0.3 * runtime.edit_scale + 1e-6
    none = policy.act(given, replace(EXPLORE, edit_scale=0.0))
    assert none.source == ChunkSource.BASE and np.array_equal(none.chunk, given.candidates[0])


def test_when_it_explores_expect_the_vla_alone_before_a_step_that_the_seed_draws_and_none_in_evaluation() -> None:
    policy, config = loaded(), config_of()
    drawn = [config.hand_over(seed) for seed in range(400)]
    assert 0.0 <= min(drawn) < 3.0 and 57.0 < max(drawn) < 60.0 and 27.0 < float(np.mean(drawn)) < 33.0
    assert config.hand_over(7) == config.hand_over(7)
    for seed in (1, 2):
        before, after = (
            situation(seed=seed, episode_step=step)
            for step in (math.floor(config.hand_over(seed)), math.ceil(config.hand_over(seed)))
        )
        assert policy.act(before, EXPLORE).source == ChunkSource.BASE
        assert policy.act(after, EXPLORE).source == ChunkSource.EDITED
        assert policy.act(replace(before, episode_step=0), CALM).source == ChunkSource.EDITED


def config_of(**changes: Any) -> PldActorConfig:
    fields: dict[str, Any] = {
        "features": CONTRACT.feature_dim, "action_dim": CONTRACT.action_dim, "hidden": (16,), "probe_share": 0.6,
        "probe_steps": 100,
    }  # fmt: skip
    return PldActorConfig(**fields | changes)


def situation(**changes: Any) -> PolicyInput:
    return replace(probes(CONTRACT)[1], **changes)


def loaded(config: PldActorConfig | None = None, **changes: Any) -> PldPolicy:
    config = config or config_of()
    manifest, data = packed(CONTRACT, fresh(PldActor, config) | changes, config, method="pld", version=4)
    policy = PldPolicy()
    policy.install(policy.prepare(unpack(manifest, data, method="pld", contract_hash=CONTRACT.hash()), TRIAL))
    return policy


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"xi": (2.5,)}, "probe"), ({"features": 73}, "shape"), ({"steps": 17}, "shape"), ({"action_dim": 6}, "shape")],
)
def test_when_an_actor_does_not_suit_the_robot_expect_refusal(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(WeightsError) as caught:
        loaded(config_of(**changes))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "change",
    [{"alpha": -1.0}, {"xi": (0.1,) * 4}, {"xi": (float("nan"),)}, {"knots": 9}, {"probe_share": 1.5},
     {"probe_steps": 0}, {"conservative_weight": float("nan")}, {"conservative_samples": 0}, {"target_entropy": 1.0},
     {"actor_rate": 0.0}],
)  # fmt: skip
def test_when_a_setting_cannot_work_expect_its_name_in_the_error(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        make(**change)
