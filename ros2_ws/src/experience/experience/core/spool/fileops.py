# SPDX-License-Identifier: Apache-2.0
"""The few things that are done to files, so that a test can fail or stop any one of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol


class FileOps(Protocol):
    """What may go wrong; each may raise OSError."""

    def append(self, path: Path, data: bytes) -> None:
        """Write at the end of a file, which is made when it is not there; may leave a part of the data behind."""

    def sync(self, path: Path) -> None:
        """Bring a file or a folder to the disk."""

    def replace(self, source: Path, target: Path) -> None:
        """Give a file another name, in one step."""

    def truncate(self, path: Path, length: int) -> None:
        """Cut a file (bytes)."""

    def remove(self, path: Path) -> None:
        """Remove a file; it need not be there."""

    def free_bytes(self, folder: Path) -> int:
        """Free space of the disk that a folder is on."""


class DiskFiles:
    """The real ones."""

    def append(self, path: Path, data: bytes) -> None:
        """See `FileOps`."""
        with path.open("ab", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]

    def sync(self, path: Path) -> None:
        """See `FileOps`."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def replace(self, source: Path, target: Path) -> None:
        """See `FileOps`."""
        source.replace(target)

    def truncate(self, path: Path, length: int) -> None:
        """See `FileOps`."""
        os.truncate(path, length)

    def remove(self, path: Path) -> None:
        """See `FileOps`."""
        path.unlink(missing_ok=True)

    def free_bytes(self, folder: Path) -> int:
        """See `FileOps`."""
        return shutil.disk_usage(folder).free


def write_whole(files: FileOps, path: Path, data: bytes) -> None:
    """Replace a file's content so that it is the old one or the new one, whatever happens in between."""
    partial = path.with_name(path.name + ".part")
    files.remove(partial)
    files.append(partial, data)
    files.sync(partial)
    files.replace(partial, path)
    files.sync(path.parent)
