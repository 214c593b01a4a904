# SPDX-License-Identifier: Apache-2.0
"""PLD's actor half: the VLA's chunk and a bounded residual on it, after a part of the episode that the VLA plays alone.

Legend: C executed steps, A action dims, D = C * A, K knots, F features, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rl_methods.common.networks import MAX_LAYERS, ScaledTanhNormal, Scaler, mlp_size
from rl_methods.common.residual import ResidualPolicy, changed, check_bound

_STREAM = 2  # of the episode's random numbers; 1 is that of its decisions


@dataclass(frozen=True)
class PldActorConfig:
    """Everything that the shapes of the weights and the meaning of their outputs follow from.

    Attributes:
        features: F.
        steps: C.
        action_dim: A.
        xi: Largest residual per action dim, normalised units; see `bound_over`.
        knots: K; a residual is K values per action dim, interpolated over the steps. C means every step its own.
        hidden: Widths.
        probe_share: Largest share of an episode that the VLA plays alone while exploring, 0..1.
        probe_steps: T, control steps of an episode that succeeds at its usual pace.
    """

    features: int
    steps: int = 8
    action_dim: int = 7
    xi: tuple[float, ...] = (0.3,)
    knots: int = 8
    hidden: tuple[int, ...] = (256, 256, 256)
    probe_share: float = 0.6
    probe_steps: int = 100

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and what is allowed.
        """
        for name in ("features", "steps", "action_dim", "probe_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if not 1 <= len(self.hidden) <= MAX_LAYERS or min(self.hidden) < 1:
            raise ValueError(f"hidden is {self.hidden[:MAX_LAYERS]}, needs 1..{MAX_LAYERS} positive widths")
        check_bound("xi", self.xi, self.action_dim)
        if not 1 <= self.knots <= self.steps:
            raise ValueError(f"knots is {self.knots}, allowed: 1..{self.steps}")
        if not 0.0 <= self.probe_share <= 1.0:
            raise ValueError(f"probe_share is {self.probe_share}, allowed: 0..1")

    @property
    def chunk_dim(self) -> int:
        """D."""
        return self.steps * self.action_dim

    def size(self) -> int:
        """Numbers in all weight matrices; what a file of weights has to hold at least."""
        return mlp_size(self.features + self.chunk_dim, self.hidden, 2 * self.knots * self.action_dim)

    def residual(self) -> ResidualPolicy:
        """Fresh residual policy."""
        return ResidualPolicy(
            self.features, self.steps, self.action_dim, knots=self.knots, bound=self.xi, hidden=self.hidden
        )

    def hand_over(self, seed: int) -> float:
        """Control step of an episode at which the residual takes over: U[0, probe_share * T), drawn from its seed."""
        return float(np.random.default_rng([seed, _STREAM]).uniform(0.0, self.probe_share * self.probe_steps))


class PldActor(nn.Module):
    """What acting needs: the residual policy and the scaler of the features.

    Args:
        config: Of both.
        policy: The residual policy; fresh by default.
        scaler: Of the features; the identity by default.
    """

    def __init__(
        self, config: PldActorConfig, policy: ResidualPolicy | None = None, scaler: Scaler | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.policy = policy or config.residual()
        self.scaler = scaler or Scaler(config.features)

    @torch.no_grad()
    def choose(
        self,
        features: Tensor,
        candidate: Tensor,
        generator: torch.Generator | None = None,
        *,
        share: float = 1.0,
        explore: bool = False,
    ) -> Tensor:
        """Chunk to play.

        Args:
            features: [F].
            candidate: [H, A] of the VLA; its first C steps are the base chunk.
            generator: Of exploration.
            share: Of the bound that may be used, above 0.
            explore: Sample the residual; else take its mode.

        Returns:
            [H, A].
        """
        config = self.config
        base = candidate[: config.steps].flatten()
        policy: ScaledTanhNormal = self.policy(self.scaler(features), base, share)
        knots = policy.sample(generator)[0] if explore else policy.mode()
        return changed(candidate, self.policy.spread(knots).view(config.steps, config.action_dim))
