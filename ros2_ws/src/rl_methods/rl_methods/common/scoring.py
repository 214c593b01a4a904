# SPDX-License-Identifier: Apache-2.0
"""How the members of an ensemble of critics are made into one score, the same while learning and while acting.

Legend: E members, B batch, N chunks per state, F features, D flattened chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from rl_methods.common.networks import EnsembleCritic


class Reduce(Enum):
    """How the members' values become one score."""

    SUBSET = "subset"  # minimum over a random subset, as REDQ and RLPD do
    MINIMUM = "minimum"
    LOWER = "lower"  # mean minus k deviations
    MEAN = "mean"


@dataclass(frozen=True)
class Scoring:
    """What an ensemble's outputs mean.

    Attributes:
        members: E.
        subset: members whose minimum is taken by `Reduce.SUBSET`.
        bounded: values are in [0, 1]: the outputs go through a logistic function.
        deviations: k of `Reduce.LOWER`.
    """

    members: int
    subset: int = 2
    bounded: bool = True
    deviations: float = 1.0

    def values(self, critic: EnsembleCritic, features: Tensor, chunks: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Features [B, F], chunks [B, N, D] -> [E, B, N] in units of return; of the chosen members only if given."""
        raw: Tensor = critic(features, chunks, chosen)
        return torch.sigmoid(raw) if self.bounded else raw

    def score(
        self,
        critic: EnsembleCritic,
        features: Tensor,
        chunks: Tensor,
        how: Reduce,
        generator: torch.Generator | None,
    ) -> Tensor:
        """One score per chunk, [B, N]; members that do not count are not computed."""
        chosen = None
        if how is Reduce.SUBSET:
            chosen = torch.randperm(self.members, generator=generator)[: self.subset].to(features.device)
        return self.reduce(self.values(critic, features, chunks, chosen), how)

    def reduce(self, values: Tensor, how: Reduce) -> Tensor:
        """[E, ...] -> [...]; for a subset, E are its members."""
        if how in (Reduce.SUBSET, Reduce.MINIMUM):
            return values.amin(0)
        if how is Reduce.LOWER:
            return values.mean(0) - self.deviations * values.std(0, unbiased=False)
        return values.mean(0)
