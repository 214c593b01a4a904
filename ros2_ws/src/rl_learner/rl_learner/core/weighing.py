# SPDX-License-Identifier: Apache-2.0
"""How much each feature counts in the small networks' inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def weights_of(features: int, compact: int, view_weight: float) -> Tensor:
    """Deviations [features] that scaled features shall have: `view_weight`, and 1 for the last `compact` of them.

    The views of a VLA are hundreds of numbers, positions and proprioception a few. With equal weight the many drown
    the few as long as there are few episodes.

    Raises:
        ValueError: naming the setting and what is allowed.
    """
    if not 0 <= compact <= features:
        raise ValueError(f"compact is {compact}, allowed: 0..{features}, the features")
    if not (math.isfinite(view_weight) and view_weight > 0.0):
        raise ValueError(f"view_weight is {view_weight}, must be finite and positive")
    weights = torch.ones(features)
    weights[: features - compact] = view_weight
    return weights
