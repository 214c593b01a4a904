# SPDX-License-Identifier: Apache-2.0
"""DSRL's actor half: a policy over the noise that the VLA starts from.

Legend: N candidates, H horizon, M noise dims, K knots, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rl_methods.common.networks import MAX_LAYERS, ScaledTanhNormal, Scaler, knots_over, mlp, mlp_size


@dataclass(frozen=True)
class DsrlActorConfig:
    """Everything that the shapes of the weights and the meaning of their outputs follow from.

    Attributes:
        features: F.
        horizon: H.
        noise_dim: M.
        knots: K; the noise at K places, interpolated over the horizon. H means all of it, 1 means repeated.
        bound: b, largest noise at a knot.
        hidden: widths.
    """

    features: int
    horizon: int = 16
    noise_dim: int = 7
    knots: int = 16
    bound: float = 1.5
    hidden: tuple[int, ...] = (256, 256)

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        for name in ("features", "horizon", "noise_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if not 1 <= len(self.hidden) <= MAX_LAYERS or min(self.hidden) < 1:
            raise ValueError(f"hidden is {self.hidden[:MAX_LAYERS]}, needs 1..{MAX_LAYERS} positive widths")
        if not 1 <= self.knots <= self.horizon:
            raise ValueError(f"knots is {self.knots}, allowed: 1..{self.horizon}")
        if not (math.isfinite(self.bound) and self.bound > 0.0):
            raise ValueError(f"bound is {self.bound}, must be finite and positive")

    def size(self) -> int:
        """Numbers in all weight matrices; what a file of weights has to hold at least."""
        return mlp_size(self.features, self.hidden, 2 * self.knots * self.noise_dim)


def knot_basis(knots: int, horizon: int) -> Tensor:
    """[H, K] interpolation over the horizon whose rows have length 1, so that unit noise stays unit noise."""
    basis = knots_over(knots, horizon)
    return basis / basis.norm(dim=1, keepdim=True)


class NoiseActor(nn.Module):
    """Features [..., F] -> distribution over K * M numbers; `expand` makes full noise of them."""

    scale: Tensor
    basis: Tensor

    def __init__(self, config: DsrlActorConfig) -> None:
        """Starts near zero mean and unit deviation of what is squashed."""
        super().__init__()
        self.shape = (config.knots, config.noise_dim)
        self.body = mlp(config.features, config.hidden, 2 * config.knots * config.noise_dim)
        with torch.no_grad():
            self.body[-1].weight.mul_(0.01)
            self.body[-1].bias.zero_()
        # the bounds follow from the configuration, never from a file of weights
        self.register_buffer("scale", torch.full((config.knots * config.noise_dim,), config.bound), persistent=False)
        self.register_buffer("basis", knot_basis(config.knots, config.horizon), persistent=False)

    def forward(self, features: Tensor) -> ScaledTanhNormal:
        """Distribution of the knots."""
        mean, log_std = self.body(features).chunk(2, dim=-1)
        return ScaledTanhNormal(mean, log_std, self.scale)

    def expand(self, knots: Tensor) -> Tensor:
        """[..., K * M] -> [..., H, M]."""
        return torch.einsum("hk,...km->...hm", self.basis, knots.unflatten(-1, self.shape))


class DsrlActor(nn.Module):
    """What acting needs: the noise policy, and the scaler of the features.

    Args:
        config: Of both.
        policy: The noise policy; fresh by default.
        scaler: Of the features; the identity by default.
    """

    def __init__(self, config: DsrlActorConfig, policy: NoiseActor | None = None, scaler: Scaler | None = None) -> None:
        super().__init__()
        self.config = config
        self.policy = policy or NoiseActor(config)
        self.scaler = scaler or Scaler(config.features)

    @torch.no_grad()
    def noise(
        self, features: Tensor, count: int, generator: torch.Generator | None = None, *, explore: bool = False
    ) -> Tensor:
        """Noise [count, H, M] to start from at features [F]: the mode first, samples after it or everywhere."""
        policy: ScaledTanhNormal = self.policy(self.scaler(features).expand(count, -1))
        knots = policy.sample(generator)[0]
        if not explore:
            knots[0] = policy.mode()[0]
        return self.policy.expand(knots)

    def largest(self) -> float:
        """What no number of a noise can exceed."""
        return self.config.bound * float(self.policy.basis.abs().sum(1).max())
