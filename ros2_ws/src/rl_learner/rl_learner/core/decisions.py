# SPDX-License-Identifier: Apache-2.0
"""What the windows of a replay saw at their starts and ends, each decision once.

A window ends where the next one of its episode starts, so the features, candidates and images of almost every decision
belong to two windows. They are kept in one row, which both name by its number.

Legend: F features, N candidates, C steps of a window, A action dims, H horizon, M noise dims, P proprioception,
K cameras, S side of an image.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rl_methods.base import DataSpec
from rl_methods.common.batch import WindowShape

FIELDS = ("features", "candidates", "noise", "proprio", "images")
_NOT_COMPARED = "noise"  # a window does not hold the noise of the decision at its end
# Half precision: rounding is a few thousandths of a feature's standard deviation, and the VLA's chunks are no better.
_TYPES = {"images": np.uint8, "proprio": np.float32}
HALF_FIELDS = tuple(name for name in FIELDS if name not in _TYPES)
# Decisions of so many windows before are compared with a new one; those of one episode come one after another.
_COMPARED = 64


class DecisionStore:
    """Rows of decisions, each counted by the windows that name it.

    Args:
        shape: Sizes of a window.
        capacity: Windows of the replay.
        spec: What of a decision is kept.
    """

    def __init__(self, shape: WindowShape, capacity: int, spec: DataSpec) -> None:
        self.names = tuple(name for name in FIELDS if spec.keeps(name) or spec.keeps(f"next_{name}"))
        self._shapes = {name: shape.of(name) if name in self.names else (0,) for name in FIELDS}
        # Each window may need two. Zeros of NumPy take no memory before they are written.
        rows = 2 * capacity
        self._rows = {
            name: torch.from_numpy(np.zeros((rows, *self._shapes[name]), dtype=_TYPES.get(name, np.float16)))
            for name in FIELDS
        }
        self._count = np.zeros(rows, np.uint32)  # windows that name a row
        self._has_noise = np.zeros(rows, bool)
        self._free: list[int] = []
        self._unused = 0  # rows from here on were never written
        self._recent: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # row and newest window, by content

    def __len__(self) -> int:
        """Rows that are named by a window."""
        return self._unused - len(self._free)

    @property
    def row_bytes(self) -> int:
        """Memory of a row."""
        return sum(rows[0].numel() * rows.element_size() for rows in self._rows.values())

    def add(self, window: int, values: Mapping[str, Tensor]) -> int:
        """Row of a decision; one of the last windows' with the same content, or another one.

        Args:
            window: Number of the window that names it, growing.
            values: By name; without noise for the decision at a window's end.
        """
        values = {name: value.to(self._rows[name].dtype) for name, value in values.items() if name in self.names}
        key = self._key(values)
        row, _ = self._recent.get(key, (-1, 0))
        noise = values.get(_NOT_COMPARED)
        if row >= 0 and noise is not None and self._has_noise[row]:
            row = row if torch.equal(self._rows[_NOT_COMPARED][row], noise) else -1
        if row < 0:
            row = self._new_row()
            for name, value in values.items():
                self._rows[name][row] = value
        elif noise is not None:
            self._rows[_NOT_COMPARED][row] = noise
        self._has_noise[row] |= noise is not None
        self._count[row] += 1
        self._remember(key, row, window)
        return row

    def release(self, row: int) -> None:
        """A window that named it is gone."""
        self._count[row] -= 1
        if self._count[row] == 0:
            self._has_noise[row] = False
            self._rows[_NOT_COMPARED][row] = 0
            self._free.append(row)
            for key in [key for key, (known, _) in self._recent.items() if known == row]:
                del self._recent[key]

    def get(self, name: str, rows: Tensor) -> Tensor:
        """A field of decisions [B, ...]."""
        return self._rows[name][rows]

    def state(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Fields of rows, in their order, for checkpoints."""
        index = torch.tensor(rows, dtype=torch.long)
        fields = {f"decision_{name}": self._rows[name][index] for name in FIELDS}
        return fields | {"decision_has_noise": torch.from_numpy(self._has_noise[index.numpy()])}

    def restore(self, state: Mapping[str, Tensor], named: Sequence[tuple[int, int]], first: int) -> None:
        """Take back what `state` gave into a store without rows.

        Args:
            state: The fields of rows, and others that are not looked at.
            named: Rows of each window's start and end, the oldest window first.
            first: Number of the oldest window.

        Raises:
            ValueError: The rows have another shape, or a window names one that is not there.
        """
        count = len(state["decision_has_noise"])
        rows = np.array(named, dtype=np.int64).reshape(-1)
        if count > len(self._count) or (rows.size and not 0 <= rows.min() <= rows.max() < count):
            raise ValueError(f"windows name decisions {rows.min()}..{rows.max()}, {count} were saved")
        for name in FIELDS:
            saved = state[f"decision_{name}"]
            if tuple(saved.shape) != (count, *self._shapes[name]):
                raise ValueError(f"{name} was saved with shape {tuple(saved.shape)}")
            self._rows[name][:count] = saved
        self._has_noise[:count] = state["decision_has_noise"].numpy()
        self._count[:count] = np.bincount(rows, minlength=count)
        self._unused = count
        for window, pair in enumerate(named[-_COMPARED:], first + max(0, len(named) - _COMPARED)):
            for row in pair:
                self._remember(self._key({name: self._rows[name][row] for name in self.names}), row, window)

    def _key(self, values: Mapping[str, Tensor]) -> bytes:
        content = hashlib.blake2b(digest_size=16)
        for name in FIELDS:
            if name != _NOT_COMPARED and name in values:
                content.update(values[name].numpy().tobytes())
        return content.digest()

    def _new_row(self) -> int:
        if self._free:
            return self._free.pop()
        self._unused += 1
        return self._unused - 1

    def _remember(self, key: bytes, row: int, window: int) -> None:
        self._recent[key] = (row, window)
        self._recent.move_to_end(key)
        while next(iter(self._recent.values()))[1] <= window - _COMPARED:
            self._recent.popitem(last=False)
