# SPDX-License-Identifier: Apache-2.0
"""Replay: chunk windows in preallocated tensors, and batches mixed from prior and online data.

Legend: B batch, F features, N candidates, C steps of a window, A action dims, H horizon, M noise dims,
P proprioception, K cameras, S side of an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl_learner.core.decisions import FIELDS, HALF_FIELDS, DecisionStore
from rl_methods.base import IMAGES, DataSpec
from rl_methods.common.batch import NAMES, Batch, WindowShape, join

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]


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
        proprio: float32 [P], physical units.
        next_proprio: float32 [P].
        images: uint8 [K, S, S, 3] at its start.
        next_images: uint8 [K, S, S, 3].
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
    proprio: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    next_proprio: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    images: ImageArray = field(default_factory=lambda: np.zeros(0, np.uint8))
    next_images: ImageArray = field(default_factory=lambda: np.zeros(0, np.uint8))


# What of a window is its own; the rest belongs to the decisions at its start and its end.
_OWN = tuple(name for name in NAMES if name.removeprefix("next_") not in FIELDS)
_HALF = ("actions", "proposed")
_AT_END = tuple(name for name in FIELDS if f"next_{name}" in NAMES)


class Replay:
    """A ring of windows.

    Args:
        shape: Sizes of a window.
        capacity: Windows kept; the oldest go first.
        spec: What of them is kept; everything by default.
    """

    def __init__(self, shape: WindowShape, capacity: int, spec: DataSpec | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}, must be at least 1")
        self.shape, self.capacity, self.size, self.cursor, self.added = shape, capacity, 0, 0, 0
        self._spec = spec or DataSpec()
        # Zeros of NumPy take no memory before they are written.
        self._own = {
            name: torch.from_numpy(np.zeros((capacity, *shape.of(name)), dtype=_own_type(name))) for name in _OWN
        }
        self._start, self._end = (torch.zeros(capacity, dtype=torch.int32) for _ in range(2))
        self._decisions = DecisionStore(shape, capacity, self._spec)

    def __len__(self) -> int:
        """Windows held."""
        return self.size

    @property
    def nbytes(self) -> int:
        """Memory of what is held."""
        own = sum(rows[0].numel() * rows.element_size() for rows in (*self._own.values(), self._start, self._end))
        return self.size * own + len(self._decisions) * self._decisions.row_bytes

    def add(self, window: Window) -> int:
        """Keeps a window; returns its slot.

        Raises:
            ValueError: A field has another shape, or is not finite (`mc_return` may be NaN).
        """
        values = {name: _tensor(name, getattr(window, name)) for name in NAMES}
        for name, value in values.items():
            if tuple(value.shape) != self.shape.of(name):
                raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {self.shape.of(name)}")
            if name not in ("mc_return", *IMAGES) and not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} is not finite")
        slot = self.cursor
        if self.size == self.capacity:
            self._decisions.release(int(self._start[slot]))
            self._decisions.release(int(self._end[slot]))
        for name in _OWN:
            self._own[name][slot] = values[name]
        self._start[slot] = self._decisions.add(self.added, {name: values[name] for name in FIELDS})
        self._end[slot] = self._decisions.add(self.added, {name: values[f"next_{name}"] for name in _AT_END})
        self.cursor = (slot + 1) % self.capacity
        self.size, self.added = min(self.size + 1, self.capacity), self.added + 1
        return slot

    def rows(self, index: Tensor) -> Batch:
        """The windows in those slots, [B]."""
        return Batch(**{name: self._field(name, index) for name in NAMES})

    def column(self, name: str) -> Tensor:
        """A field of all windows held, float32 [size, ...]."""
        return self._field(name, torch.arange(self.size))

    def _field(self, name: str, index: Tensor) -> Tensor:
        if name in self._own:
            return self._own[name][index].float()
        decisions = self._end if name.startswith("next_") else self._start
        field = name.removeprefix("next_")
        if not self._spec.keeps(name):
            return torch.zeros(len(index), 0, dtype=torch.uint8 if name in IMAGES else torch.float32)
        rows = self._decisions.get(field, decisions[index].long())
        return rows if name in IMAGES else rows.float()

    def sample(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """Uniform with replacement.

        Raises:
            ValueError: It is empty.
        """
        if self.size == 0:
            raise ValueError("the replay is empty")
        return self.rows(torch.randint(self.size, (count,), generator=generator))

    def state(self) -> dict[str, Tensor]:
        """What is held, oldest slot first in memory order, with the cursor; for checkpoints.

        Decisions are numbered in the order in which the windows name them.
        """
        pairs = torch.stack([self._start[: self.size], self._end[: self.size]], dim=1).flatten().tolist()
        numbers = {row: number for number, row in enumerate(dict.fromkeys(pairs))}
        named = torch.tensor([numbers[row] for row in pairs], dtype=torch.int32).reshape(-1, 2)
        out = {name: rows[: self.size].clone() for name, rows in self._own.items()}
        counters = torch.tensor([self.size, self.cursor, self.added])
        return out | self._decisions.state(list(numbers)) | {"decisions": named, "counters": counters}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave into a replay that holds nothing.

        Raises:
            ValueError: It was made with another shape, holds more than fits, or is of an earlier release.
        """
        size, cursor, added = (int(x) for x in state["counters"])
        if size > self.capacity or (size < self.capacity and cursor != size):
            raise ValueError(f"{size} windows with the cursor at {cursor} do not fit a capacity of {self.capacity}")
        if "decisions" not in state:
            raise ValueError("the replay was saved by an earlier release: begin another run")
        for name, rows in self._own.items():
            if tuple(state[name].shape) != (size, *self.shape.of(name)):
                raise ValueError(f"{name} was saved with shape {tuple(state[name].shape)}")
            rows[:size] = state[name]
        named = state["decisions"]
        self._start[:size], self._end[:size] = named[:, 0], named[:, 1]
        oldest_first = torch.roll(named, -cursor, dims=0) if size == self.capacity else named
        pairs = [(int(start), int(end)) for start, end in oldest_first.tolist()]
        self._decisions.restore(state, pairs, added - size)
        self.size, self.cursor, self.added = size, cursor, added


def _own_type(name: str) -> type:
    return np.float16 if name in _HALF else np.float32


def _tensor(name: str, value: object) -> Tensor:
    if name in IMAGES:
        return torch.from_numpy(np.array(value, dtype=np.uint8))
    is_half = name in _HALF or name.removeprefix("next_") in HALF_FIELDS
    return torch.from_numpy(np.array(value, dtype=np.float16 if is_half else np.float32))


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
