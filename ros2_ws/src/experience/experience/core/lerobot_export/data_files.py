# SPDX-License-Identifier: Apache-2.0
"""The Parquet files of a dataset: numbers of its frames, a new file when the last one is large."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from experience.core.lerobot_export import layout
from experience.core.lerobot_export.layout import FileIndex

_BYTES_PER_MB = 1024 * 1024


class DataFiles:
    """Collects tables of episodes until they fill a file.

    Args:
        root: Folder of the dataset.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._rows: list[pa.Table] = []
        self._index = FileIndex()

    def add(self, table: pa.Table) -> dict[str, int]:
        """Append the table of an episode; returns where it is, as the episode's metadata say it."""
        waiting = sum(rows.nbytes for rows in self._rows)
        if self._rows and waiting + table.nbytes > layout.DATA_FILE_MB * _BYTES_PER_MB:
            self.flush()
            self._index = self._index.next()
        self._rows.append(table)
        return {"data/chunk_index": self._index.chunk, "data/file_index": self._index.file}

    def flush(self) -> None:
        """Write what was collected; there is at least one table."""
        path = self._root / self._index.path(layout.DATA_PATH)
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, self._rows[0].schema, write_page_checksum=True) as writer:
            # One row group per episode: a reader fetches an episode without the rest.
            for table in self._rows:
                writer.write_table(table)
        self._rows = []
