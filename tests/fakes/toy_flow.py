# SPDX-License-Identifier: Apache-2.0
"""Flow policies small enough for arithmetic: an exact one of a Gaussian, and a network on a few features.

Legend: B observations, N chunks of each, H horizon, A action dims, D noise dims, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class FeatureContext:
    """B observations that are their features [B, F]."""

    features: Tensor

    def __len__(self):
        return len(self.features)

    def rows(self, index):
        return FeatureContext(self.features[index])


class _Toy:
    """What both have in common."""

    def __init__(self, horizon, action_dim, noise_dim, features, steps):
        self.chunk_shape, self.noise_shape = (horizon, action_dim), (horizon, noise_dim)
        self.feature_dim, self.denoise_steps = features, steps

    def join(self, contexts):
        return FeatureContext(torch.cat([c.features for c in contexts]))


class GaussianFlow(_Toy):
    """Exact velocities of data that are normal with a mean and a deviation; nothing to train."""

    def __init__(self, mean=0.7, std=0.3, steps=10):
        super().__init__(1, 1, 1, 1, steps)
        self.mean, self.std = mean, std

    def velocity(self, context, noisy, time):
        t = time[:, None, None]
        variance = (1 - t).square() * self.std**2 + t.square()
        return -self.mean + (t - (1 - t) * self.std**2) / variance * (noisy - (1 - t) * self.mean)

    def parameters(self):
        return {}


class NetworkFlow(_Toy):
    """A network that is trained; its chunks begin as noise around zero."""

    def __init__(self, horizon=2, action_dim=1, noise_dim=2, features=3, steps=4, seed=0):
        super().__init__(horizon, action_dim, noise_dim, features, steps)
        torch.manual_seed(seed)
        size = horizon * noise_dim
        self.net = nn.Sequential(nn.Linear(features + size + 1, 64), nn.Tanh(), nn.Linear(64, size))

    def velocity(self, context, noisy, time):
        features = context.features.repeat_interleave(len(noisy) // len(context), dim=0)
        out = self.net(torch.cat([features, noisy.flatten(1), time[:, None]], dim=-1))
        return noisy + out.view_as(noisy)

    def parameters(self):
        return dict(self.net.named_parameters())
