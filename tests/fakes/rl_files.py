# SPDX-License-Identifier: Apache-2.0
"""Files that can be told to fail, or to be the last thing that a process ever did."""

from __future__ import annotations

import errno
from pathlib import Path

from experience.core.spool import DiskFiles


class Killed(BaseException):
    """The process ends here; nobody catches this."""


class FaultyFiles(DiskFiles):
    """Counts operations; kills or refuses at the one with number `at` (from 1).

    Attributes:
        operations: How many there were.
        log: Their names.
    """

    def __init__(self, *, at: int = 0, kill: bool = False, share: float = 0.5, every: bool = False) -> None:
        """Plan a fault.

        Args:
            at: Number of the operation, 0 for none.
            kill: Whether it ends the process; otherwise the disk is full.
            share: Part of the data that a write leaves behind.
            every: Whether all later operations fail too.
        """
        self.at, self.kill, self.share, self.every = at, kill, share, every
        self.operations = 0
        self.log: list[str] = []
        self.free: int | None = None

    def _next(self, name: str) -> bool:
        self.operations += 1
        self.log.append(name)
        return bool(self.at) and (self.operations == self.at or (self.every and self.operations > self.at))

    def _fail(self) -> None:
        if self.kill:
            raise Killed
        raise OSError(errno.ENOSPC, "No space left on device")

    def append(self, path: Path, data: bytes) -> None:
        if self._next("append"):
            super().append(path, data[: int(len(data) * self.share)])
            self._fail()
        super().append(path, data)

    def sync(self, path: Path) -> None:
        if self._next("sync"):
            self._fail()

    def replace(self, source: Path, target: Path) -> None:
        if self._next("replace"):
            self._fail()
        super().replace(source, target)

    def truncate(self, path: Path, length: int) -> None:
        if self._next("truncate"):
            self._fail()
        super().truncate(path, length)

    def remove(self, path: Path) -> None:
        if self._next("remove"):
            self._fail()
        super().remove(path)

    def free_bytes(self, folder: Path) -> int:
        return super().free_bytes(folder) if self.free is None else self.free
