# SPDX-License-Identifier: Apache-2.0
"""Shares of the machine, by file lock: process tests run side by side only as far as its cores carry them."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from pathlib import Path

# A test that mostly waits takes one share; physics and rendering in software take all of two cores.
SHARES = 2 * max(2, os.cpu_count() or 2)
_POLL_S = 0.05


class CoreShares:
    """Holds a number of shares until `release`, or until the process ends however it ends.

    Shares are taken under one lock and all at once, so that two tests never wait for each other. A test that needs
    many is not passed by: whoever takes shares keeps the lock while it waits.
    """

    def __init__(self, count: int, folder: Path | None = None, shares: int = SHARES) -> None:
        """Wait for `count` of `shares`; more than there are means all of them."""
        folder = folder or Path(tempfile.gettempdir()) / "whetstone_cores"
        folder.mkdir(parents=True, exist_ok=True)
        self._held: list[int] = []
        queue = _open(folder / "queue.lock")
        try:
            fcntl.flock(queue, fcntl.LOCK_EX)
            while len(self._held) < min(count, shares):
                self._take_free(folder, min(count, shares), shares)
                if len(self._held) < min(count, shares):
                    time.sleep(_POLL_S)
        finally:
            os.close(queue)

    def _take_free(self, folder: Path, count: int, shares: int) -> None:
        for number in range(shares):
            if len(self._held) == count:
                return
            handle = _open(folder / f"{number}.lock")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
            else:
                self._held.append(handle)

    def release(self) -> None:
        """Give them back."""
        while self._held:
            os.close(self._held.pop())


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
