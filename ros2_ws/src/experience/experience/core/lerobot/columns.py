# SPDX-License-Identifier: Apache-2.0
"""Numbers of one episode out of a data file: every frame is there, and has as many numbers as announced.

Legend: T frames, W numbers of a frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from experience.core.lerobot.info import DatasetError
from whetstone_common.core.foreign import reading


class Columns:
    """Columns of an episode.

    Args:
        path: The data file.
        episode: Number of the episode.
        length: T, as announced.
    """

    def __init__(self, path: Path, episode: int, length: int) -> None:
        self._where, self._path, self.length = f"{path}: episode {episode}", path, length
        with reading(path, DatasetError):
            if "episode_index" not in pq.read_schema(path).names:
                raise DatasetError(f"{path} has no column episode_index")
            self._rows: Any = pq.read_table(
                path, filters=[("episode_index", "=", episode)], page_checksum_verification=True
            )
        if len(self._rows) != length:
            raise DatasetError(f"{self._where} has {len(self._rows)} rows, {length} are announced")
        self._check_order()

    def __contains__(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self._rows.column_names

    def vectors(self, name: str, width: int) -> NDArray[np.float64]:
        """[T, W] of a column of lists.

        Raises:
            DatasetError: There is no such column, a frame has none or another number of values.
        """
        column = self._column(name)
        if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type) or _is_large(column.type)):
            raise DatasetError(f"{self._where}: {name} is of type {column.type}, expected lists of {width} numbers")
        lengths = np.asarray(pc.list_value_length(column).to_numpy(zero_copy_only=False))
        if (wrong := np.flatnonzero(lengths != width)).size:
            self._fail(wrong[0], f"{name} has {lengths[wrong[0]]} numbers, expected {width}")
        flat = column.flatten()
        self._check_present(flat, name, width)
        return self._numbers(flat, name).reshape(self.length, width)

    def scalars(self, name: str) -> NDArray[np.float64]:
        """[T] of a column of numbers or truth values; raises as `vectors`."""
        column = self._column(name)
        if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            return self.vectors(name, 1)[:, 0]
        return self._numbers(column, name)

    def _column(self, name: str) -> Any:
        if name not in self:
            raise DatasetError(f"{self._where} has no column {name}")
        column = self._rows[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # older versions of pyarrow
            column = column.chunk(0)
        self._check_present(column, name, 1)
        return column

    def _check_present(self, column: Any, name: str, width: int) -> None:
        if column.null_count:
            first = int(np.flatnonzero(np.asarray(column.is_null()))[0])
            self._fail(first // width, f"{name} has no value")

    def _numbers(self, column: Any, name: str) -> NDArray[np.float64]:
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise DatasetError(f"{self._where}: {name} holds {kind}, expected numbers")
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)

    def _check_order(self) -> None:
        if "frame_index" not in self:
            return
        order = self.scalars("frame_index")
        if (wrong := np.flatnonzero(order != np.arange(self.length))).size:
            self._fail(wrong[0], f"frame_index is {order[wrong[0]]:g}: a row is missing, doubled or out of order")

    def _fail(self, frame: Any, text: str) -> None:
        raise DatasetError(f"{self._where}, frame {int(frame)}: {text}")


def _is_large(kind: Any) -> bool:
    return bool(pa.types.is_large_list(kind))


def frame_times(columns: Columns, fps: float, tolerance_s: float, where: str) -> NDArray[np.float64]:
    """[T] moments (s) of the frames since the start of the episode.

    Args:
        columns: Of the episode; without `timestamp` the rate alone says when frames were.
        fps: Frames per second.
        tolerance_s: How far a frame may be from its place in an even row.
        where: For the sentence.

    Raises:
        DatasetError: A frame is earlier or later than the rate says.
    """
    even = np.arange(columns.length) / fps
    if "timestamp" not in columns:
        return even
    times = columns.scalars("timestamp")
    off = ~(np.abs(times - even) <= tolerance_s)
    if off.any():
        frame = int(np.argmax(off))
        raise DatasetError(
            f"{where}, frame {frame}: timestamp is {times[frame]:.4f} s, expected {even[frame]:.4f} s "
            f"at {fps:g} frames per second (tolerance {tolerance_s:.4f} s)"
        )
    return times
