# SPDX-License-Identifier: Apache-2.0
"""Tensors of one shape in a file: memory does not grow with their number.

Legend: R rows.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ArrayRows:
    """Tensors of one type that are appended one by one and read back by number.

    The file has no name, so that nothing is left of it however the process ends.

    Args:
        dtype: Of the numbers on disk.
        folder: Where there is room for it; the system's temporary folder by default.
    """

    def __init__(self, dtype: type[np.generic], folder: Path | None = None) -> None:
        # Closed with the last reference; a with block cannot span the life of an object.
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._dtype = dtype
        self._shape: tuple[int, ...] | None = None
        self._count = 0

    def append(self, row: Tensor) -> None:
        """Add a tensor.

        Raises:
            ValueError: It has another shape than the first.
            OSError: The disk is full.
        """
        if self._shape is None:
            self._shape = tuple(row.shape)
        if tuple(row.shape) != self._shape:
            raise ValueError(f"row {self._count} has shape {tuple(row.shape)}, those before it {self._shape}")
        self._file.write(self._array(row.detach().cpu()).tobytes())
        self._count += 1

    def _array(self, row: Tensor) -> NDArray[np.generic]:
        return row.contiguous().numpy().astype(self._dtype, copy=False)

    def __len__(self) -> int:
        """R."""
        return self._count

    def __getitem__(self, numbers: Tensor) -> Tensor:
        """[len(numbers), ...] of those rows."""
        self._file.flush()
        out = np.empty((len(numbers), *(self._shape or ())), self._dtype)
        size = out[:1].nbytes
        for row, number in zip(out, numbers.tolist(), strict=True):
            if not 0 <= number < self._count:
                raise IndexError(f"row {number} of {self._count}")
            # Read and not mapped: mapped pages would count as memory of this process.
            if os.preadv(self._file.fileno(), [memoryview(row).cast("B")], number * size) != size:
                raise OSError(f"row {number} of {self._count} is not whole")
        return torch.from_numpy(out)


class HalfRows(ArrayRows):
    """Half-precision tensors, whatever they were before."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(np.float16, folder)

    def _array(self, row: Tensor) -> NDArray[np.generic]:
        return row.half().contiguous().numpy()  # type: ignore[no-any-return]


class ByteRows(ArrayRows):
    """Images: uint8."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(np.uint8, folder)
