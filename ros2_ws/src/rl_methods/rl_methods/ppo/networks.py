# SPDX-License-Identifier: Apache-2.0
"""The small networks of PPO: a critic on VLA features, and the noise that Flow-Noise learns.

Legend: B rows, F features, H horizon, D noise dims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from rl_methods.common.networks import Scaler, mlp

_NOISE_HIDDEN = (128,)


class ValueNetwork(nn.Module):
    """Value of an observation from its features."""

    def __init__(self, features: int, hidden: Sequence[int]) -> None:
        """Args: F and the widths. It says 0 of everything until it has learnt."""
        super().__init__()
        self.scaler = Scaler(features)
        self.net = mlp(features, hidden, 1)
        last = cast(nn.Linear, self.net[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[B, F] -> [B]."""
        return cast(Tensor, self.net(self.scaler(features)).squeeze(-1))


class NoiseNetwork(nn.Module):
    """Deviation of the noise of a denoising step, within bounds that hold for its logarithm."""

    def __init__(self, features: int, shape: tuple[int, int], least_std: float, most_std: float) -> None:
        """Args: F, (H, D) and the bounds. It begins in the middle of them."""
        super().__init__()
        self.shape, self.low, self.high = shape, math.log(least_std), math.log(most_std)
        self.scaler = Scaler(features)
        size = math.prod(shape)
        self.net = mlp(features + size + 1, _NOISE_HIDDEN, size)
        last = cast(nn.Linear, self.net[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, features: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """Features [B, F], x [B, H, D], time [B] -> deviation [B, H, D]."""
        raw = self.net(torch.cat([self.scaler(features), x.flatten(1), time[:, None]], dim=-1))
        share = torch.sigmoid(raw).view(-1, *self.shape)
        return cast(Tensor, (self.low + (self.high - self.low) * share).exp())
