# SPDX-License-Identifier: Apache-2.0
"""Versions of published weights: they only grow, also over a crash between two checkpoints."""

from __future__ import annotations

from pathlib import Path

from experience.core.spool.checked_file import read_checked, write_checked
from experience.core.spool.fileops import DiskFiles, FileOps


class VersionCounter:
    """The last version that was given out, on disk before it is used.

    Args:
        path: File of the run.
        files: Operations on files.
    """

    def __init__(self, path: Path, files: FileOps | None = None) -> None:
        self._path, self._files = path, files or DiskFiles()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.last = _read(path)

    def next(self, least: int = 1) -> int:
        """A version larger than any before, and at least `least`."""
        version = max(self.last + 1, least)
        write_checked(self._files, self._path, {"version": version})
        self.last = version
        return version


def _read(path: Path) -> int:
    body, damaged = read_checked(path)
    if body is None and not damaged:
        return 0
    try:
        return int((body or {})["version"])
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path} does not hold a version ({'; '.join(damaged.values()) or error}): "
            'write {"version": N} into it, N not below the newest version that was played'
        ) from error
