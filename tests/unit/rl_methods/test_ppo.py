# SPDX-License-Identifier: Apache-2.0
"""PPO on a flow policy: advantages and losses by hand, the first ratio, determinism, state, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fakes.toy_flow import FeatureContext, NetworkFlow
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.common.guard import DivergenceError
from rl_methods.config import read_training_settings
from rl_methods.ppo.advantages import generalised_advantages, normalised
from rl_methods.ppo.algorithm import Ppo
from rl_methods.ppo.decisions import Decisions
from rl_methods.ppo.losses import policy_loss, ratio_metrics, value_loss
from rl_methods.ppo.settings import Likelihood, PpoSettings

SETTINGS = PpoSettings(execute_steps=2, batch=8, epochs=2, critic_warm_up=0, critic_hidden=(16,), episodes=4)


def made(seed=0, **changes):
    flow = NetworkFlow(seed=seed)
    return Ppo(flow, replace(SETTINGS, **changes))


def decisions(ppo, episodes=4, length=3, seed=0):
    """Episodes of which every other one succeeds at its end."""
    count = episodes * length
    features = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    context = FeatureContext(features)
    chains = ppo.explore(context, [(seed, n) for n in range(count)])
    last = torch.arange(1, count + 1) % length == 0
    rewards = torch.where(last & (torch.arange(count) // length % 2 == 0), 1.0, 0.0)
    executed = torch.where(last, 1, 2)
    return Decisions(context, chains, executed, rewards, last, last.clone(), features.roll(-1, 0))


def test_when_advantages_are_computed_by_hand_expect_the_same():
    # two episodes: of two decisions with a true end, of one whose time was up and whose value goes on
    rewards, values = torch.tensor([0.0, 1.0, 0.5]), torch.tensor([0.2, 0.4, 0.3])
    following, last = torch.tensor([0.4, 0.0, 0.6]), torch.tensor([False, True, True])
    advantages, returns = generalised_advantages(rewards, values, following, last, discount=0.9, trace=0.5)
    second = 1.0 - 0.4
    first = (0.9 * 0.4 - 0.2) + 0.9 * 0.5 * second
    third = 0.5 + 0.9 * 0.6 - 0.3
    assert advantages.tolist() == pytest.approx([first, second, third])
    assert returns.tolist() == pytest.approx([first + 0.2, second + 0.4, third + 0.3])


def test_when_all_advantages_are_the_same_expect_nothing_to_prefer():
    assert normalised(torch.full((4,), 0.3)).tolist() == pytest.approx([0.0] * 4, abs=1e-4)
    assert normalised(torch.tensor([0.3])).tolist() == [0.0]
    assert normalised(torch.tensor([0.0, 2.0])).mean() == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective"),
    [(1.0, 2.0, 2.0), (1.5, 2.0, 2.4), (0.5, 2.0, 1.0), (0.5, -2.0, -1.6), (1.5, -2.0, -3.0), (9.0, -2.0, -6.0)],
)
def test_when_a_ratio_is_clipped_by_hand_expect_the_same_loss(ratio, advantage, objective):
    log_ratio = torch.tensor([ratio]).log()
    assert float(policy_loss(log_ratio, torch.tensor([advantage]), 0.2, 3.0)) == pytest.approx(-objective, rel=1e-5)


def test_when_values_move_far_expect_the_larger_error():
    values, old, returns = torch.tensor([1.0, 0.1]), torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.1])
    # the first counts as 0.2 and is wrong by 0.8, the second is right
    assert float(value_loss(values, old, returns, 0.2, 10.0)) == pytest.approx(0.5 * 0.8**2 / 2)
    far = value_loss(torch.tensor([30.0]), torch.tensor([30.0]), torch.tensor([0.0]), 0.2, 10.0)
    assert float(far) == pytest.approx(10.0 * (30.0 - 5.0))


def test_when_ratios_differ_from_one_expect_their_share_and_divergence():
    metrics = ratio_metrics(torch.tensor([0.0, 0.5]), 0.2)
    assert metrics["clip_fraction"] == 0.5
    assert metrics["approximate_kl"] == pytest.approx((torch.tensor(0.5).exp() - 1 - 0.5).item() / 2)


@pytest.mark.parametrize("single_step", [True, False])
@pytest.mark.parametrize("likelihood", list(Likelihood))
def test_when_nothing_is_learnt_yet_expect_every_ratio_to_be_one(likelihood, single_step):
    ppo = made(likelihood=likelihood, single_step=single_step)
    rated = ppo.rate(decisions(ppo))
    log_ratio, _ = ppo.log_ratio(rated, torch.arange(len(rated.values)))
    torch.testing.assert_close(log_ratio.detach().exp(), torch.ones(12), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("likelihood", list(Likelihood))
def test_when_it_has_learnt_expect_better_chunks_to_be_likelier(likelihood):
    ppo = made(likelihood=likelihood, actor_learning_rate=1e-3, epochs=8)
    played = decisions(ppo, episodes=16)
    rated = ppo.rate(played)
    metrics = ppo.learn(played, torch.Generator().manual_seed(0))
    log_ratio, _ = ppo.log_ratio(rated, torch.arange(len(played)))
    better = rated.advantages > 0
    assert float(log_ratio[better].detach().mean()) > float(log_ratio[~better].detach().mean())
    assert metrics["approximate_kl"] > 0.0 and ppo.iterations == 1 and ppo.updates == 8 * 6


def test_when_the_critic_warms_up_expect_the_policy_unchanged():
    ppo = made(critic_warm_up=1)
    before = {name: value.detach().clone() for name, value in ppo.policy.parameters().items()}
    metrics = ppo.learn(decisions(ppo), torch.Generator().manual_seed(0))
    assert all(torch.equal(before[name], value) for name, value in ppo.policy.parameters().items())
    assert metrics["critic_loss"] > 0.0 and "actor_loss" not in metrics
    ppo.learn(decisions(ppo, seed=1), torch.Generator().manual_seed(0))
    assert not all(torch.equal(before[name], value) for name, value in ppo.policy.parameters().items())


def digest(ppo):
    return {name: value.clone() for name, value in ppo.state().items()}


def learnt(ppo, iterations):
    for number in iterations:
        ppo.learn(decisions(ppo, seed=number), torch.Generator().manual_seed(number))
    return ppo


def test_when_a_run_is_repeated_expect_the_same_weights():
    first, second = (digest(learnt(made(likelihood=Likelihood.NOISE), range(2))) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("likelihood", list(Likelihood))
def test_when_a_state_is_restored_expect_the_run_to_go_on_as_if_it_had_not_stopped(likelihood):
    straight = digest(learnt(made(likelihood=likelihood), range(3)))
    halfway = digest(learnt(made(likelihood=likelihood), range(2)))
    resumed = made(seed=5, likelihood=likelihood)
    resumed.restore(halfway)
    found = digest(learnt(resumed, [2]))
    assert all(torch.equal(straight[name], found[name]) for name in straight)


def test_when_a_state_is_of_another_model_expect_a_refusal_that_changes_nothing():
    state = made().state()
    name = next(n for n in state if n.startswith("expert/"))
    ppo = made(seed=5)
    before = digest(ppo)
    with pytest.raises(CheckpointError, match="action expert"):
        ppo.restore(state | {name: torch.zeros(3, 3)})
    assert all(torch.equal(before[n], value) for n, value in ppo.state().items())


def test_when_a_gradient_is_not_finite_expect_it_skipped_and_nothing_changed():
    ppo = made()
    played = decisions(ppo)
    before = digest(ppo)
    broken = replace(played, chains=replace(played.chains, density=torch.full((12, 2), torch.inf)))
    with pytest.raises(DivergenceError, match="none of 4 gradient steps"):
        ppo.learn(broken, torch.Generator().manual_seed(0))
    after = ppo.state()
    assert ppo.skipped == 4
    assert all(torch.equal(before[n], after[n]) for n in before if n.startswith(("expert", "critic/net", "actor")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rewards": torch.full((12,), torch.nan)}, "reward of decision 0 is nan"),
        ({"last": torch.zeros(12, dtype=torch.bool)}, "last episode has no end"),
    ],
)
def test_when_decisions_cannot_be_learnt_from_expect_a_sentence(change, words):
    ppo = made()
    with pytest.raises(ValueError, match=words):
        ppo.learn(replace(decisions(ppo), **change), torch.Generator())


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip": 0.0}, {"clip": float("nan")}, {"discount": 1.1}, {"dual_clip": 0.5}, {"epochs": 0}, {"batch": 1},
        {"noise_level": 0.0}, {"least_std": 0.2}, {"critic_hidden": ()}, {"actor_learning_rate": 0.0},
    ],
)  # fmt: skip
def test_when_a_setting_cannot_work_expect_its_name(wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} is "):
        PpoSettings(**wrong)


def test_when_more_steps_are_played_than_a_chunk_has_expect_a_refusal():
    with pytest.raises(ValueError, match="execute_steps is 8, allowed: 1 to 2"):
        made(execute_steps=8)


def test_when_shipped_settings_are_read_expect_them_typed(tmp_path):
    assert read_training_settings("ppo").likelihood is Likelihood.SDE
    own = tmp_path / "own.yaml"
    own.write_text("ppo:\n  likelihood: noise\n  critic_hidden: [32, 32]\n")
    assert read_training_settings("ppo", own) == PpoSettings(likelihood=Likelihood.NOISE, critic_hidden=(32, 32))
    own.write_text("ppo:\n  lottery: noise\n")
    with pytest.raises(ValueError, match="unknown key in ppo: lottery"):
        read_training_settings("ppo", own)
