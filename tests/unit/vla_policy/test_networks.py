# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from rl_methods.common.networks import EnsembleCritic, ScaledTanhNormal


def test_when_an_ensemble_is_evaluated_expect_each_member_to_be_what_it_is_alone():
    torch.manual_seed(0)
    critic = EnsembleCritic(3, 5, 4, (8, 6))
    features, chunks = torch.randn(2, 5), torch.randn(2, 7, 4)
    together = critic(features, chunks)
    assert together.shape == (3, 2, 7)
    for member in range(3):
        alone = critic(features, chunks, torch.tensor([member]))
        torch.testing.assert_close(alone[0], together[member])
    assert not torch.allclose(together[0], together[1])


def test_when_chunks_are_scored_one_by_one_expect_the_same_values_as_in_one_go():
    torch.manual_seed(0)
    critic = EnsembleCritic(2, 5, 4, (8,))
    features, chunks = torch.randn(3, 5), torch.randn(3, 4, 4)
    whole = critic(features, chunks)
    for n in range(4):
        torch.testing.assert_close(critic(features, chunks[:, n : n + 1])[..., 0], whole[..., n])


@pytest.mark.parametrize(("scale", "mean", "log_std"), [(0.2, 0.3, -1.0), (1.5, -0.5, 0.0), (0.05, 0.0, -0.3)])
def test_when_a_scaled_squashed_gaussian_is_integrated_expect_one(scale, mean, log_std):
    policy = ScaledTanhNormal(
        torch.full((1,), mean, dtype=torch.float64),
        torch.full((1,), log_std, dtype=torch.float64),
        torch.tensor([scale], dtype=torch.float64),
    )
    edges = torch.linspace(-1.0, 1.0, 400_001, dtype=torch.float64) * scale
    middle = 0.5 * (edges[1:] + edges[:-1])
    density = policy.log_prob(middle[:, None]).exp()
    assert float((density * (edges[1] - edges[0])).sum()) == pytest.approx(1.0, abs=1e-3)


def test_when_sampled_expect_the_density_of_the_sample_and_a_value_inside_the_box():
    generator = torch.Generator().manual_seed(0)
    policy = ScaledTanhNormal(torch.zeros(100, 3), torch.zeros(100, 3), torch.tensor([0.1, 0.5, 2.0]))
    value, log_prob = policy.sample(generator)
    assert bool((value.abs() < torch.tensor([0.1, 0.5, 2.0])).all())
    torch.testing.assert_close(policy.log_prob(value), log_prob, atol=1e-2, rtol=1e-3)


def test_when_far_out_expect_a_finite_density():
    policy = ScaledTanhNormal(torch.full((1, 1), 30.0), torch.zeros(1, 1), torch.ones(1))
    _, log_prob = policy.sample(torch.Generator().manual_seed(0))
    assert math.isfinite(float(log_prob))
