# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from rl_methods.common.critic import CriticConfig
from rl_methods.common.feature_scaling import feature_scales
from rl_methods.dsrl.algorithm import Dsrl, DsrlConfig
from rl_methods.expo.algorithm import Expo, ExpoConfig

FEATURES = 6
CRITIC = CriticConfig(members=2, hidden=(8,))


def test_when_views_weigh_less_expect_the_last_features_whole():
    assert feature_scales(4, 1, 0.1).tolist() == pytest.approx([0.1, 0.1, 0.1, 1.0])


@pytest.mark.parametrize(
    ("compact", "weight", "words"),
    [
        (7, 1.0, "state_features is 7, allowed: 0..6"),
        (-1, 1.0, "state_features is -1"),
        (2, 0.0, "0.0"),
        (2, math.nan, "nan"),
    ],
)
@pytest.mark.parametrize("config", [ExpoConfig, DsrlConfig])
def test_when_the_weighing_makes_no_sense_expect_it_refused(config, compact, weight, words):
    with pytest.raises(ValueError, match=words):
        config(FEATURES, state_features=compact, image_feature_scale=weight)


@pytest.mark.parametrize(
    "learner",
    [
        lambda: Expo(ExpoConfig(FEATURES, critic=CRITIC, state_features=2, image_feature_scale=0.1)),
        lambda: Dsrl(DsrlConfig(FEATURES, critic=CRITIC, state_features=2, image_feature_scale=0.1)),
    ],
    ids=["expo", "dsrl"],
)
def test_when_a_learner_has_seen_features_expect_views_to_deviate_less(learner):
    made, features = learner(), torch.randn(500, FEATURES, generator=torch.Generator().manual_seed(0)) * 3.0 + 1.0
    made.fit_scaler(features)
    deviations = made.scaler(features).std(0)
    torch.testing.assert_close(deviations[:-2], torch.full((FEATURES - 2,), 0.1), atol=0.01, rtol=0.0)
    torch.testing.assert_close(deviations[-2:], torch.ones(2), atol=0.05, rtol=0.0)
