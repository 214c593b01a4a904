# SPDX-License-Identifier: Apache-2.0
"""PPO on a flow policy learns an identity task in seconds, by either likelihood."""

from __future__ import annotations

import pytest
import torch

from fakes.threads import one_thread
from fakes.toy_env import Identity, identity_envs
from fakes.toy_flow import NetworkFlow
from rl_learner.core.on_policy.collector import Collector
from rl_methods.ppo.algorithm import Ppo
from rl_methods.ppo.settings import Likelihood, PpoSettings

EVALUATION = range(1000, 1200)


def share(results):
    return sum(r.success for r in results) / len(results)


@pytest.mark.parametrize("single_step", [True, False])
@pytest.mark.parametrize("likelihood", list(Likelihood))
def test_when_it_plays_and_learns_expect_the_served_policy_to_succeed_more(likelihood, single_step):
    settings = PpoSettings(
        likelihood=likelihood, single_step=single_step, execute_steps=2, batch=64, epochs=4, critic_warm_up=1,
        actor_learning_rate=2e-3, critic_learning_rate=1e-2, critic_hidden=(32, 32), least_std=0.1, most_std=0.3,
    )  # fmt: skip
    with one_thread():
        ppo = Ppo(NetworkFlow(), settings)
        collector = Collector(identity_envs(32), Identity(), ppo)
        before = share(collector.evaluate(EVALUATION))
        for iteration in range(30):
            seeds = range(10_000 + 128 * iteration, 10_000 + 128 * (iteration + 1))
            decisions, _ = collector.explore(seeds, (0, iteration))
            ppo.learn(decisions, torch.Generator().manual_seed(iteration))
        after = share(collector.evaluate(EVALUATION))
    assert before < 0.5 and after > 0.9, f"success {before:.2f} before, {after:.2f} after"
