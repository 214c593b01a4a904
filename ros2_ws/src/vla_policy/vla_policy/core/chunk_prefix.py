# SPDX-License-Identifier: Apache-2.0
"""What is left of the chunk that plays, and how strongly the next one is drawn to it (arXiv 2506.07339, algorithm 1).

Steps that will have played when the reply arrives are a hard prefix, the rest of the old chunk a soft one.

Legend: N candidates, H horizon, A action dims, R rows of the old chunk that are left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BETA = 5.0  # as in the paper


@dataclass(frozen=True, eq=False)
class ChunkPrefix:
    """What is left of the chunk that plays.

    Attributes:
        actions: float32 [R, A] normalised, relative to the new observation; row 0 plays first after it.
        delay: d, rows that will have played when the new chunk arrives.
        beta: Largest guidance weight.
    """

    actions: FloatArray
    delay: int
    beta: float = BETA

    def __post_init__(self) -> None:
        """Refuse what cannot guide.

        Raises:
            ValueError: With name, value and range.
        """
        if self.actions.ndim != 2 or not np.isfinite(self.actions).all():
            raise ValueError(f"actions of shape {self.actions.shape} must be two-dimensional and finite")
        if not 0 <= self.delay <= len(self.actions):
            raise ValueError(f"delay is {self.delay}, allowed: 0..{len(self.actions)}, the rows that are left")
        if not (math.isfinite(self.beta) and self.beta > 0.0):
            raise ValueError(f"beta is {self.beta}, must be finite and positive")

    def padded(self, horizon: int, dims: int) -> tuple[FloatArray, FloatArray]:
        """Target [H, dims] and weights [H, dims]; rows and dims that the old chunk lacks weigh nothing."""
        rows, width = min(len(self.actions), horizon), min(self.actions.shape[1], dims)
        target, weight = (np.zeros((horizon, dims), np.float32) for _ in range(2))
        target[:rows, :width] = self.actions[:rows, :width]
        weight[:, :width] = soft_mask(horizon, min(self.delay, rows), rows)[:, None]
        return target, weight


def soft_mask(horizon: int, delay: int, rows: int) -> NDArray[np.float32]:
    """W [H]: 1 for the first `delay` rows, falling to 0 at `rows`, the rows of the old chunk that are left (H - s)."""
    index = np.arange(horizon, dtype=np.float64)
    c = (rows - index) / (rows - delay + 1)
    soft = c * np.expm1(c) / (math.e - 1.0)
    return np.where(index < delay, 1.0, np.where(index < rows, soft, 0.0)).astype(np.float32)


def guidance_weight(time: float, beta: float) -> float:
    """Weight of the guidance at flow time t in (0, 1]."""
    if time >= 1.0:
        return beta
    return min(beta, time / (1.0 - time) * (time**2 + (1.0 - time) ** 2) / time**2)


def step_towards(x: FloatArray, following: FloatArray, time: float, steps: int, prefix: ChunkPrefix) -> FloatArray:
    """The next Euler point of a model without gradients: the same guidance with J = identity.

    Args:
        x: [N, H, A].
        following: [N, H, A], the point that the model alone would go to.
        time: Flow time of x.
        steps: Euler steps of the whole way.
        prefix: What is left of the old chunk.
    """
    target, weight = prefix.padded(x.shape[1], x.shape[2])
    field = (x - following) * steps
    estimate = x - time * field
    pulled = following + guidance_weight(time, prefix.beta) * weight * (target - estimate) / steps
    return np.asarray(pulled, dtype=np.float32)
