# SPDX-License-Identifier: Apache-2.0
"""Versions of published weights: they only grow, also over a crash between two checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

from rl_learner.core.spool.fileops import DiskFiles, FileOps, write_whole


class VersionBook:
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
        write_whole(self._files, self._path, json.dumps({"version": version}).encode())
        self.last = version
        return version


def _read(path: Path) -> int:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["version"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not hold a version: {error}") from error
