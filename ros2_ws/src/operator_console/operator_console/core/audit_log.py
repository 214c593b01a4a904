# SPDX-License-Identifier: Apache-2.0
"""Every command of a page: who, what, what came of it."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

_SHOWN = 100


@dataclass(frozen=True)
class LoggedCommand:
    """One command.

    Attributes:
        time: Wall time, ISO 8601.
        viewer: Who gave it.
        command: What was asked.
        answer: What came of it.
    """

    time: str
    viewer: str
    command: str
    answer: str

    @property
    def text(self) -> str:
        """One line."""
        return f"{self.time} {self.viewer}: {self.command}: {self.answer}"


class AuditLog:
    """Keeps the newest commands for the page, and writes all of them to a file when there is one.

    Args:
        path: The file, None for none.
        clock: Wall time as text.
    """

    def __init__(self, path: Path | None, clock: Callable[[], str]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._newest: deque[LoggedCommand] = deque(maxlen=_SHOWN)
        self._file = None
        self.count = 0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")

    @property
    def newest(self) -> tuple[LoggedCommand, ...]:
        """The newest first."""
        with self._lock:
            return tuple(reversed(self._newest))

    def add(self, viewer: str, command: str, answer: str) -> LoggedCommand:
        """Note a command."""
        entry = LoggedCommand(self._clock(), viewer, command, answer)
        with self._lock:
            self._newest.append(entry)
            self.count += 1
            if self._file is not None:
                self._file.write(json.dumps(asdict(entry)) + "\n")
                self._file.flush()
        return entry

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
