# SPDX-License-Identifier: Apache-2.0
"""The value function of RECAP: its loss by hand, and a toy task that it learns."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rl_methods.recap.returns import EpisodeOutcome, returns_of
from rl_methods.recap.settings import RecapSettings
from rl_methods.recap.value import (
    ReturnDistributionNetwork,
    ValueData,
    ValueShape,
    bins_of,
    fit_value,
    measured,
    value_loss,
)

SMALL = RecapSettings(
    value_steps=300,
    value_batch=64,
    value_hidden=32,
    value_check_every=50,
    bins=21,
    value_learning_rate=5e-3,
    value_dropout=0.0,
)
LENGTH = 30


def episode(seed: int, *, success: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """A hand that goes to its target, or stays; features: distance, whether words and scene agree, noise."""
    rng = np.random.default_rng(seed)
    ticks = int(rng.integers(10, 20)) if success else LENGTH
    distance = np.linspace(ticks / 20, 0.0, ticks) if success else np.full(ticks, rng.uniform(0.3, 1.0))
    features = np.stack([distance, np.full(ticks, float(success)), rng.normal(size=ticks)], axis=1)
    returns = returns_of(EpisodeOutcome("toy", success, np.zeros(ticks, bool)), 1.0, LENGTH)
    return torch.tensor(features, dtype=torch.float32), torch.tensor(returns, dtype=torch.float32)


def frames(seeds: range) -> ValueData:
    parts = [episode(seed, success=seed % 2 == 0) for seed in seeds]
    return ValueData(torch.cat([f for f, _ in parts]), torch.cat([r for _, r in parts]))


def test_when_returns_are_given_expect_the_nearest_bins():
    found = bins_of(torch.tensor([-1.0, -0.996, -0.5, -0.0024, 0.0]), 201)
    assert found.tolist() == [0, 1, 100, 200, 200]


@pytest.mark.parametrize("value", [0.01, -1.01, float("nan")])
def test_when_a_return_is_outside_expect_refusal(value):
    with pytest.raises(ValueError, match="return"):
        bins_of(torch.tensor([value]), 201)


def test_when_the_logits_are_known_expect_loss_and_value_by_hand():
    network = ReturnDistributionNetwork(ValueShape(features=2, hidden=4, bins=3))
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        network.layers[-1].bias.copy_(torch.tensor([math.log(1.0), math.log(2.0), math.log(5.0)]))
    features = torch.zeros(2, 2)
    # probabilities 1/8, 2/8, 5/8 on -1, -1/2, 0
    assert network.value(features).tolist() == pytest.approx([-0.25, -0.25])
    loss = value_loss(network, features, torch.tensor([0.0, -1.0]))
    assert float(loss.detach()) == pytest.approx((math.log(8 / 5) + math.log(8)) / 2)


def test_when_trained_expect_values_that_rise_along_held_out_successes():
    held = frames(range(100, 120))
    network, fit = fit_value(frames(range(40)), held, SMALL, lambda _step, _metrics: None)
    assert fit.error < 0.08
    rising = []
    for seed in range(100, 120, 2):
        features, _ = episode(seed, success=True)
        rising.append(np.polyfit(np.arange(len(features)), network.value(features).detach().numpy(), 1)[0] > 0.0)
        values = network.value(features).detach()
        assert float(values[-1]) > float(values[0]) + 0.2
    assert all(rising)
    failed, _ = episode(101, success=False)
    assert float(network.value(failed).detach().max()) < -0.8


def test_when_trained_twice_expect_the_same_weights():
    settings = replace(SMALL, value_steps=20)
    first, second = (fit_value(frames(range(6)), None, settings, lambda *_: None)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_when_measured_expect_the_weights_that_were_best():
    held, seen = frames(range(100, 110)), []
    network, fit = fit_value(frames(range(10)), held, SMALL, lambda step, metrics: seen.append((step, metrics)))
    assert fit.loss == pytest.approx(min(metrics["value/held_out"] for _, metrics in seen))
    assert measured(network, held).loss == pytest.approx(fit.loss, rel=1e-5)
    assert [step for step, _ in seen] == list(range(50, 301, 50))


def test_when_a_feature_is_not_finite_expect_refusal():
    data = frames(range(2))
    data.features[3, 1] = float("nan")
    with pytest.raises(ValueError, match="features are not finite"):
        fit_value(data, None, SMALL, lambda *_: None)
