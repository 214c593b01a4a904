# SPDX-License-Identifier: Apache-2.0
"""RLT's actor half: a chunk from features and the VLA's own chunk, never further from it than a bound.

Legend: C executed steps, A action dims, D = C * A, F features, H horizon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rl_methods.common.draws import normal
from rl_methods.common.networks import MAX_LAYERS, Scaler, mlp, mlp_size
from rl_methods.common.residual import bound_over, changed, check_bound


@dataclass(frozen=True)
class RltActorConfig:
    """Everything that the shapes of the weights and the meaning of their outputs follow from.

    Attributes:
        features: F.
        steps: C.
        action_dim: A.
        bound: Largest distance from the reference per action dim, normalised units; one entry for all or A entries.
        sigma: Deviation of the chunk while exploring, normalised units.
        hidden: Widths.
    """

    features: int
    steps: int = 8
    action_dim: int = 7
    bound: tuple[float, ...] = (0.5,)
    sigma: float = 0.05
    hidden: tuple[int, ...] = (256, 256)

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and what is allowed.
        """
        for name in ("features", "steps", "action_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if not 1 <= len(self.hidden) <= MAX_LAYERS or min(self.hidden) < 1:
            raise ValueError(f"hidden is {self.hidden[:MAX_LAYERS]}, needs 1..{MAX_LAYERS} positive widths")
        check_bound("bound", self.bound, self.action_dim)
        if not (math.isfinite(self.sigma) and self.sigma >= 0.0):
            raise ValueError(f"sigma is {self.sigma}, must be finite and at least 0")

    @property
    def chunk_dim(self) -> int:
        """D."""
        return self.steps * self.action_dim

    def size(self) -> int:
        """Numbers in all weight matrices; what a file of weights has to hold at least."""
        return mlp_size(self.features + self.chunk_dim, self.hidden, self.chunk_dim)


class ChunkActor(nn.Module):
    """mu(x, a~): features [..., F] and what is shown of the reference [..., D] -> mean chunk [..., D].

    The reference is passed through: the network says what to add to it. Untrained, it repeats what it is shown.
    """

    def __init__(self, config: RltActorConfig) -> None:
        """Starts as the reference itself."""
        super().__init__()
        self.body = mlp(config.features + config.chunk_dim, config.hidden, config.chunk_dim)
        with torch.no_grad():
            self.body[-1].weight.zero_()
            self.body[-1].bias.zero_()

    def forward(self, features: Tensor, shown: Tensor) -> Tensor:
        """Mean chunk, not yet bounded."""
        added: Tensor = self.body(torch.cat([features, shown], dim=-1))
        return shown + added


def within(chunk: Tensor, reference: Tensor, bound: Tensor) -> Tensor:
    """The chunk, clipped to the box of half-width `bound` around the reference; all [..., D]."""
    return reference + (chunk - reference).maximum(-bound).minimum(bound)


class RltActor(nn.Module):
    """What acting needs: the chunk actor and the scaler of the features.

    Args:
        config: Of both.
        policy: The chunk actor; fresh by default.
        scaler: Of the features; the identity by default.
    """

    bound: Tensor

    def __init__(self, config: RltActorConfig, policy: ChunkActor | None = None, scaler: Scaler | None = None) -> None:
        super().__init__()
        self.config = config
        self.policy = policy or ChunkActor(config)
        self.scaler = scaler or Scaler(config.features)
        # the bound follows from the configuration, never from a file of weights
        self.register_buffer("bound", bound_over(config.bound, config.steps, config.action_dim), persistent=False)

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
            candidate: [H, A] of the VLA; its first C steps are the reference.
            generator: Of exploration.
            share: Of the bound that may be used.
            explore: Sample; else take the mean.

        Returns:
            [H, A].
        """
        config = self.config
        reference = candidate[: config.steps].flatten()
        chunk = self.policy(self.scaler(features), reference)
        if explore:
            chunk = chunk + config.sigma * normal(chunk.shape, generator, chunk)
        change = within(chunk, reference, self.bound * share) - reference
        return changed(candidate, change.view(config.steps, config.action_dim))
