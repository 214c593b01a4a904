# SPDX-License-Identifier: Apache-2.0
"""How much each feature counts in the small networks' inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def feature_scales(features: int, state_features: int, image_feature_scale: float) -> Tensor:
    """Deviations [features] of scaled features: `image_feature_scale`, and 1 for the last `state_features`.

    A VLA's image features are hundreds of numbers, positions and proprioception a few. With equal scale the many
    dominate the few as long as there are few episodes.

    Raises:
        ValueError: Naming the setting and what is allowed.
    """
    if not 0 <= state_features <= features:
        raise ValueError(f"state_features is {state_features}, allowed: 0..{features}, the features")
    if not (math.isfinite(image_feature_scale) and image_feature_scale > 0.0):
        raise ValueError(f"image_feature_scale is {image_feature_scale}, must be finite and positive")
    scales = torch.ones(features)
    scales[: features - state_features] = image_feature_scale
    return scales
