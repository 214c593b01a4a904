# SPDX-License-Identifier: Apache-2.0
"""Likelihoods of denoising chains: marginals of the SDE, densities by hand, what counts of a chunk."""

from __future__ import annotations

import math

import pytest
import torch

from fakes.toy_flow import FeatureContext, GaussianFlow, NetworkFlow
from rl_methods.common.flow_policy import integrate
from rl_methods.ppo.chains import ALL, Draws, FlowLikelihood, mean_of_played
from rl_methods.ppo.networks import NoiseNetwork
from rl_methods.ppo.transitions import sde_step

COUNT = 20_000
MEAN, STD = 0.7, 0.3


def draws(count, flow, steps, *, single_step, first=0):
    seeds = [(first, n) for n in range(count)]
    return Draws.of(seeds, flow.noise_shape, steps, single_step=single_step)


@pytest.mark.parametrize("single_step", [True, False])
@pytest.mark.parametrize("level", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("steps", [10, 40, 100])
def test_when_the_sde_is_sampled_expect_the_marginals_of_the_ode(level, steps, single_step):
    flow, context = GaussianFlow(MEAN, STD), FeatureContext(torch.zeros(COUNT, 1))
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(COUNT, 1, 1, generator=generator)
    noise = torch.randn(COUNT, steps, 1, 1, generator=generator)
    step = torch.randint(steps, (COUNT,), generator=generator) if single_step else torch.full((COUNT,), ALL)
    ode = integrate(flow, context, start, steps)
    sde = FlowLikelihood(flow, steps, level).sample(context, Draws(start, noise, step)).chunks
    # a hundredth for 20,000 samples, and what Euler steps of both leave of the truth
    assert float(sde.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(sde.std()) == pytest.approx(float(ode.std()), abs=0.01 + 0.5 / steps)
    assert abs(float(sde.std()) - STD) <= abs(float(ode.std()) - STD) + 0.01


def test_when_the_level_is_zero_expect_the_step_of_the_ode():
    x, velocity = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    mean, std = sde_step(x, velocity, torch.arange(4), 4, 1e-6)
    torch.testing.assert_close(mean, x - velocity / 4)
    assert float(std.max()) < 1e-5


def test_when_a_step_is_computed_by_hand_expect_the_same_mean_and_deviation():
    # t = 0.5, delta = 0.25, a = 0.5: sigma^2 = 0.25, x0 = 1 - 0.5 * 2 = 0, x1 = 1 + 0.5 * 2 = 2
    x, velocity = torch.full((1, 1, 1), 1.0), torch.full((1, 1, 1), 2.0)
    mean, std = sde_step(x, velocity, torch.tensor([2]), 4, 0.5)
    assert float(mean) == pytest.approx(0.0 * 0.75 + 2.0 * (0.25 - 0.25 * 0.25 / (2 * 0.5)))
    assert float(std) == pytest.approx(0.5 * math.sqrt(0.25))


def test_when_it_is_the_first_step_expect_a_finite_deviation():
    _, std = sde_step(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.tensor([0]), 4, 0.5)
    assert float(std) == pytest.approx(0.5 * math.sqrt(1.0 / 0.25) * math.sqrt(0.25))


def likelihoods():
    flow = NetworkFlow()
    noise = NoiseNetwork(flow.feature_dim, flow.noise_shape, 0.08, 0.16)
    return {"sde": FlowLikelihood(flow, 4, 0.5), "noise": FlowLikelihood(flow, 4, 0.5, noise)}


@pytest.mark.parametrize("single_step", [True, False])
@pytest.mark.parametrize("kind", ["sde", "noise"])
def test_when_a_chain_is_rated_by_who_sampled_it_expect_the_same_density(kind, single_step):
    likelihood = likelihoods()[kind]
    context = FeatureContext(torch.randn(6, 3))
    chains = likelihood.sample(context, draws(6, likelihood.policy, 4, single_step=single_step))
    density, _ = likelihood.density(context, chains)
    torch.testing.assert_close(density.detach(), chains.density, rtol=1e-5, atol=1e-5)
    rows = torch.tensor([4, 1])
    some, _ = likelihood.density(context.rows(rows), chains.rows(rows))
    torch.testing.assert_close(some.detach(), chains.density[rows], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["sde", "noise"])
def test_when_only_padding_differs_expect_the_same_density(kind):
    likelihood = likelihoods()[kind]
    context = FeatureContext(torch.randn(5, 3))
    chains = likelihood.sample(context, draws(5, likelihood.policy, 4, single_step=True))
    points = chains.points.clone()
    rows = torch.arange(5)
    points[rows, chains.step + 1, :, 1] += 3.0  # the second of two noise dims is no action
    other, _ = likelihood.density(context, type(chains)(points, chains.step, chains.density))
    torch.testing.assert_close(other.detach(), chains.density, rtol=1e-5, atol=1e-5)
    points[rows, chains.step + 1, 1, 0] += 3.0
    other, _ = likelihood.density(context, type(chains)(points, chains.step, chains.density))
    torch.testing.assert_close(other[:, 0].detach(), chains.density[:, 0], rtol=1e-5, atol=1e-5)
    assert bool((other[:, 1] < chains.density[:, 1]).any())


def test_when_a_chunk_was_cut_expect_only_its_played_steps_to_count():
    values = torch.tensor([[1.0, 3.0, 100.0], [1.0, 3.0, 5.0]])
    assert mean_of_played(values, torch.tensor([2, 3])).tolist() == [2.0, 3.0]


def test_when_only_one_step_is_noisy_expect_the_others_to_be_the_odes():
    likelihood = likelihoods()["sde"]
    context = FeatureContext(torch.randn(40, 3))
    chains = likelihood.sample(context, draws(40, likelihood.policy, 4, single_step=True))
    assert set(chains.step.tolist()) == {0, 1, 2, 3}
    for number in range(4):
        time = torch.full((40,), 1.0 - number / 4)
        plain = chains.points[:, number] - likelihood.policy.velocity(context, chains.points[:, number], time) / 4
        differs = (chains.points[:, number + 1] - plain).abs().amax((1, 2)) > 1e-4
        assert differs.tolist() == (chains.step == number).tolist()


def test_when_chains_are_drawn_expect_each_to_depend_on_its_own_seed_alone():
    flow = NetworkFlow()
    alone = Draws.of([(3, 1)], flow.noise_shape, 4, single_step=True)
    among = Draws.of([(3, 0), (3, 1)], flow.noise_shape, 4, single_step=True)
    torch.testing.assert_close(alone.noise[0], among.noise[1])
    assert alone.step[0] == among.step[1]


def test_when_noise_is_learnt_expect_it_within_its_bounds():
    network = NoiseNetwork(3, (2, 2), 0.08, 0.16)
    inputs = torch.randn(50, 3), torch.randn(50, 2, 2), torch.rand(50)
    start = network(*inputs)
    torch.testing.assert_close(start, torch.full_like(start, math.sqrt(0.08 * 0.16)))
    with torch.no_grad():
        network.net[-1].weight.normal_(0.0, 50.0)
    moved = network(*inputs).detach()
    assert float(moved.min()) >= 0.08 * 0.999 and float(moved.max()) <= 0.16 * 1.001
    assert float(moved.max() - moved.min()) > 0.07
