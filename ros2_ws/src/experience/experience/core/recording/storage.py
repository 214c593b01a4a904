# SPDX-License-Identifier: Apache-2.0
"""The folder that recordings go to: whether there is room for one more."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_MB = 1e6


class Storage:
    """Tells whether the next episode can be kept.

    Attributes:
        folder: Where recordings go; it is made when it is not there.
        min_free_bytes: Free space below which no episode is recorded.
    """

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        """Nothing is touched yet."""
        self.folder, self.min_free_bytes = folder, min_free_bytes
        self._largest_bytes = 0

    def note(self, size_bytes: int) -> None:
        """Learn how large a recording may become."""
        self._largest_bytes = max(self._largest_bytes, size_bytes)

    def problem(self) -> str:
        """What keeps the next episode from being kept, empty when nothing does."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free_bytes = shutil.disk_usage(self.folder).free
        except OSError as error:
            return f"{self.folder}: {error.strerror or error}"
        if not os.access(self.folder, os.W_OK | os.X_OK):
            return f"{self.folder}: cannot be written"
        needed_bytes = max(self.min_free_bytes, self._largest_bytes)
        if free_bytes < needed_bytes:
            return f"{free_bytes / _MB:.1f} MB free in {self.folder}, at least {needed_bytes / _MB:.1f} MB needed"
        return ""
