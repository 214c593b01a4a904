# SPDX-License-Identifier: Apache-2.0
"""Replay: chunk windows in preallocated tensors, and batches mixed from prior and online data.

Legend: B batch, F features, N candidates, C steps of a window, A action dims, H horizon, M noise dims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Window:
    """One chunk window as the learner takes it; actions and candidates normalised, first C steps only.

    Attributes:
        features: float32 [F] at its start.
        actions: float32 [C, A] as executed.
        candidates: float32 [N, C, A] that the VLA proposed.
        noise: float32 [N, H, M] that they came from.
        reward: discounted sum of rewards inside the window.
        mask: 0 when a true terminal ended it, else 1.
        discount: of what follows it: gamma to the power of the steps that it took.
        valid: 1, or 0 when the window must not be learnt from.
        mc_return: discounted return that followed in the episode; NaN when it is not known.
        success: whether its episode succeeded.
        human: share of the steps that a person commanded.
        refused: 1 when a person took over from `proposed` in this window, else 0.
        proposed: float32 [C, A] that the method had chosen; equals `actions` where nobody interfered.
        next_features: float32 [F].
        next_candidates: float32 [N, C, A].
    """

    features: FloatArray
    actions: FloatArray
    candidates: FloatArray
    noise: FloatArray
    reward: float
    mask: float
    discount: float
    valid: float
    mc_return: float
    success: float
    human: float
    refused: float
    proposed: FloatArray
    next_features: FloatArray
    next_candidates: FloatArray


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of windows as float32 tensors; names and shapes as in `Window` with B in front."""

    features: Tensor
    actions: Tensor
    candidates: Tensor
    noise: Tensor
    reward: Tensor
    mask: Tensor
    discount: Tensor
    valid: Tensor
    mc_return: Tensor
    success: Tensor
    human: Tensor
    refused: Tensor
    proposed: Tensor
    next_features: Tensor
    next_candidates: Tensor

    def __len__(self) -> int:
        """B."""
        return len(self.features)


NAMES = tuple(f.name for f in fields(Batch))
HALF = ("candidates", "noise", "next_candidates")  # most of the memory, and the VLA's own precision is no better


@dataclass(frozen=True)
class ReplayShape:
    """Sizes of a window."""

    features: int
    steps: int
    action_dim: int
    candidates: int
    horizon: int
    noise_dim: int

    def of(self, name: str) -> tuple[int, ...]:
        """Shape of one row of a field."""
        chunk = (self.steps, self.action_dim)
        shapes = {
            "features": (self.features,),
            "next_features": (self.features,),
            "actions": chunk,
            "proposed": chunk,
            "candidates": (self.candidates, *chunk),
            "next_candidates": (self.candidates, *chunk),
            "noise": (self.candidates, self.horizon, self.noise_dim),
        }
        return shapes.get(name, ())


class Replay:
    """A ring of windows.

    Args:
        shape: Sizes of a window.
        capacity: Windows kept; the oldest go first.
    """

    def __init__(self, shape: ReplayShape, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}, must be at least 1")
        self.shape, self.capacity, self.size, self.cursor, self.added = shape, capacity, 0, 0, 0
        self._rows = {
            name: torch.zeros((capacity, *shape.of(name)), dtype=torch.float16 if name in HALF else torch.float32)
            for name in NAMES
        }

    def __len__(self) -> int:
        """Windows held."""
        return self.size

    @property
    def nbytes(self) -> int:
        """Memory of all rows."""
        return sum(rows.numel() * rows.element_size() for rows in self._rows.values())

    def add(self, window: Window) -> int:
        """Keeps a window; returns its slot.

        Raises:
            ValueError: A field has another shape, or is not finite (`mc_return` may be NaN).
        """
        values = {name: torch.from_numpy(np.array(getattr(window, name), dtype=np.float32)) for name in NAMES}
        for name, value in values.items():
            if tuple(value.shape) != self.shape.of(name):
                raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {self.shape.of(name)}")
            if name != "mc_return" and not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} is not finite")
        slot = self.cursor
        for name, value in values.items():
            self._rows[name][slot] = value
        self.cursor = (slot + 1) % self.capacity
        self.size, self.added = min(self.size + 1, self.capacity), self.added + 1
        return slot

    def rows(self, index: Tensor) -> Batch:
        """The windows in those slots, [B]."""
        return Batch(**{name: rows[index].float() for name, rows in self._rows.items()})

    def sample(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """Uniform with replacement.

        Raises:
            ValueError: It is empty.
        """
        if self.size == 0:
            raise ValueError("the replay is empty")
        return self.rows(torch.randint(self.size, (count,), generator=generator))

    def state(self) -> dict[str, Tensor]:
        """What is held, oldest slot first in memory order, with the cursor; for checkpoints."""
        out = {name: rows[: self.size].clone() for name, rows in self._rows.items()}
        return out | {"counters": torch.tensor([self.size, self.cursor, self.added])}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave.

        Raises:
            ValueError: It was made with another shape or holds more than fits.
        """
        size, cursor, added = (int(x) for x in state["counters"])
        if size > self.capacity or (size < self.capacity and cursor != size):
            raise ValueError(f"{size} windows with the cursor at {cursor} do not fit a capacity of {self.capacity}")
        for name, rows in self._rows.items():
            if tuple(state[name].shape) != (size, *self.shape.of(name)):
                raise ValueError(f"{name} was saved with shape {tuple(state[name].shape)}")
            rows[:size] = state[name]
        self.size, self.cursor, self.added = size, cursor, added


def mixed(prior: Replay | None, online: Replay, prior_share: float, count: int, generator: torch.Generator) -> Batch:
    """A batch with a fixed share of prior data; what one side lacks comes from the other.

    Args:
        prior: Demonstrations or base episodes, or None.
        online: What was collected since.
        prior_share: In 0..1.
        count: B.
        generator: Of the draws.
    """
    if not 0.0 <= prior_share <= 1.0:
        raise ValueError(f"prior_share is {prior_share}, allowed: 0..1")
    if prior is None or len(prior) == 0:
        return online.sample(count, generator)
    from_prior = count if len(online) == 0 else round(prior_share * count)
    parts = []
    if from_prior:
        parts.append(prior.sample(from_prior, generator))
    if count > from_prior:
        parts.append(online.sample(count - from_prior, generator))
    return join(parts)


def join(parts: Sequence[Batch]) -> Batch:
    """Batches one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Batch(**{name: torch.cat([getattr(p, name) for p in parts]) for name in NAMES})


def monte_carlo(rewards: Sequence[float], masks: Sequence[float], discount: float) -> list[float]:
    """Return that followed each window of one episode in order, with nothing after the last.

    Args:
        rewards: Of each window.
        masks: Of each window.
        discount: Per window.
    """
    out, after = [], 0.0
    for reward, mask in zip(reversed(rewards), reversed(masks), strict=True):
        after = reward + discount * mask * after
        out.append(after)
    return out[::-1]
