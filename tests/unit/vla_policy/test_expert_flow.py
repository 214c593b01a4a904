# SPDX-License-Identifier: Apache-2.0
"""A pocket VLA as a flow policy that can be trained: the numbers of serving, gradients for the expert alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rl_methods.common.flow_policy import integrate
from rl_methods.ppo.algorithm import Ppo
from rl_methods.ppo.decisions import Decisions
from rl_methods.ppo.settings import Likelihood, PpoSettings
from vla_policy.core.training.expert_flow import ExpertFlow


@pytest.fixture
def flow(pocket):
    return ExpertFlow(pocket)


@pytest.fixture
def observations(observation):
    other = replace(observation, proprio=observation.proprio + 0.1)
    return [observation, other, observation]


def test_when_noise_is_integrated_expect_the_chunks_of_serving(flow, pocket, observations, noise):
    context = flow.encode(observations)
    found = integrate(flow, context, torch.from_numpy(noise[:3]), pocket.num_steps)
    for row, observation in enumerate(observations):
        served = pocket.denoise(pocket.prefix(observation), noise[row : row + 1])
        np.testing.assert_allclose(found[row].numpy(), served[0], atol=1e-4)


def test_when_an_observation_has_several_chunks_expect_the_same_as_one_by_one(flow, observations, noise):
    context, time = flow.encode(observations[:2]), torch.tensor([0.9, 0.4, 0.9, 0.4])
    noisy = torch.from_numpy(noise[:4])
    both = flow.velocity(context, noisy, time)
    first = flow.velocity(context.rows(torch.tensor([0])), noisy[:2], time[:2])
    torch.testing.assert_close(both[:2], first, atol=1e-5, rtol=1e-5)


def test_when_contexts_are_joined_expect_their_rows_and_the_features_of_serving(flow, pocket, observations):
    context = flow.join([flow.encode(observations[:1]), flow.encode(observations[1:])])
    assert len(context) == 3
    served = pocket.features(pocket.prefix(observations[1]))
    np.testing.assert_allclose(context.rows(torch.tensor([1])).features[0].numpy(), served, atol=1e-6)


def test_when_a_velocity_is_differentiated_expect_gradients_for_the_expert_alone(flow, pocket, observations, noise):
    flow.velocity(flow.encode(observations[:1]), torch.from_numpy(noise[:1]), torch.tensor([0.5])).sum().backward()
    reached = {name for name, value in pocket.model.named_parameters() if value.grad is not None}
    assert reached and reached <= set(flow.parameters())
    assert not any(name.startswith("model.vlm.") for name in flow.parameters())


@pytest.mark.parametrize("likelihood", list(Likelihood))
def test_when_a_vla_learns_expect_the_first_ratio_one_and_its_eyes_unchanged(flow, pocket, observations, likelihood):
    settings = PpoSettings(
        likelihood=likelihood, execute_steps=4, batch=3, epochs=1, critic_warm_up=0, actor_learning_rate=1e-3
    )
    ppo, context = Ppo(flow, settings), flow.encode(observations)
    decisions = Decisions(
        context=context, chains=ppo.explore(context, [(0, n) for n in range(3)]), executed=torch.tensor([4, 2, 4]),
        rewards=torch.tensor([0.0, 1.0, 0.0]), last=torch.tensor([False, True, True]),
        terminal=torch.tensor([False, True, True]), next_features=context.features.roll(-1, 0),
    )  # fmt: skip
    log_ratio, _ = ppo.log_ratio(ppo.rate(decisions), torch.arange(3))
    torch.testing.assert_close(log_ratio.detach().exp(), torch.ones(3), rtol=1e-4, atol=1e-4)
    eyes = {n: v.clone() for n, v in pocket.model.named_parameters() if n.startswith("model.vlm.")}
    hands = {n: v.detach().clone() for n, v in flow.parameters().items()}
    ppo.learn(decisions, torch.Generator().manual_seed(0))
    now = dict(pocket.model.named_parameters())
    assert all(torch.equal(value, now[name]) for name, value in eyes.items())
    assert not all(torch.equal(value, now[name]) for name, value in hands.items())
