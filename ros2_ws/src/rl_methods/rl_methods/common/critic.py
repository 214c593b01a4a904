# SPDX-License-Identifier: Apache-2.0
"""The critic while it learns: an ensemble with its target, its loss and its optimiser.

Legend: E members, B batch, N chunks per state, F features, D flattened chunk.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl_methods.common.networks import EnsembleCritic
from rl_methods.common.scoring import Reduce, Scoring


@dataclass(frozen=True)
class CriticConfig:
    """Hyperparameters of the critic.

    Attributes:
        members: E, at least 1.
        subset: members whose minimum is taken by `Reduce.SUBSET`, 1..E.
        hidden: widths, each at least 1.
        learning_rate: of Adam, above 0.
        polyak: share of the online weights that flows into the target per update, above 0 and at most 1.
        bounded: values are probabilities-like in [0, 1]: logistic output and cross-entropy. Needs rewards that sum
            to at most 1 per episode.
        deviations: k of `Reduce.LOWER`.
        weight_decay: of AdamW.
    """

    members: int = 10
    subset: int = 2
    hidden: tuple[int, ...] = (256, 256)
    learning_rate: float = 3e-4
    polyak: float = 0.005
    bounded: bool = True
    deviations: float = 1.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        if not 1 <= self.subset <= self.members:
            raise ValueError(f"subset is {self.subset}, allowed: 1..{self.members}")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden is {self.hidden}, needs positive widths")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0.0):
            raise ValueError(f"learning_rate is {self.learning_rate}, must be finite and positive")
        if not 0.0 < self.polyak <= 1.0:
            raise ValueError(f"polyak is {self.polyak}, allowed: (0, 1]")

    def scoring(self) -> Scoring:
        """How values are read, which the actor half needs as well."""
        return Scoring(self.members, self.subset, self.bounded, self.deviations)


class Critic:
    """Online ensemble, target ensemble, optimiser."""

    def __init__(self, config: CriticConfig, features: int, action: int) -> None:
        """Fresh weights from torch's global seed; F and D are the input sizes."""
        self.config, self.scoring = config, config.scoring()
        self.online = EnsembleCritic(config.members, features, action, config.hidden)
        self.target = copy.deepcopy(self.online).requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.AdamW(
            self.online.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )

    def values(self, features: Tensor, chunks: Tensor, *, target: bool = False, chosen: Tensor | None = None) -> Tensor:
        """Features [B, F], chunks [B, N, D] -> [E, B, N] in units of return; of the chosen members only if given."""
        return self.scoring.values(self._net(target=target), features, chunks, chosen)

    def score(
        self, features: Tensor, chunks: Tensor, how: Reduce, generator: torch.Generator | None, *, target: bool = True
    ) -> Tensor:
        """One score per chunk, [B, N]; members that do not count are not computed."""
        return self.scoring.score(self._net(target=target), features, chunks, how, generator)

    def _net(self, *, target: bool) -> EnsembleCritic:
        return self.target if target else self.online

    def loss(self, features: Tensor, chunks: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Weighted regression of every member to one target.

        Args:
            features: [B, F].
            chunks: [B, D].
            target: [B].
            weight: [B], 0 leaves a row out.
        """
        raw = self.online(features, chunks[:, None])[..., 0]  # [E, B]
        wanted = target.expand_as(raw)
        if self.config.bounded:
            error = F.binary_cross_entropy_with_logits(raw, wanted.clamp(0.0, 1.0), reduction="none")
        else:
            error = (raw - wanted).pow(2)
        return (error.mean(0) * weight).sum() / weight.sum().clamp(min=1.0)

    def follow(self) -> None:
        """One step of the target, after one of the optimiser."""
        polyak(self.target, self.online, self.config.polyak)

    def sync(self) -> None:
        """Makes the target equal to the online ensemble."""
        self.target.load_state_dict(self.online.state_dict())


def polyak(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Moves the target by a share of the way to the source, in place."""
    with torch.no_grad():
        torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), rate)
