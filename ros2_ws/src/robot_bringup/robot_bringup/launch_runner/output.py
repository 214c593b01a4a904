# SPDX-License-Identifier: Apache-2.0
"""Where lines go. Nobody who says something waits or fails: a line that cannot be written is dropped."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from pathlib import Path
from typing import IO

_MOST_LINES = 10_000  # kept for a terminal that does not read for a while
_CLOSE_S = 1.0


class Screen:
    """Writes to a file descriptor from a thread of its own.

    A closed terminal (EIO), a broken pipe, a full disk, and a reader that has stalled must not keep a launch from
    ending its processes.
    """

    def __init__(self, descriptor: int = 1, most_lines: int = _MOST_LINES) -> None:
        """Start the thread that writes to `descriptor`."""
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(most_lines)
        self._thread = threading.Thread(target=self._write, name="screen", daemon=True)
        self._thread.start()

    def say(self, name: str, text: str) -> None:
        """Hand over a line of a process."""
        self._put(f"[{name}] {text}\n".encode(errors="replace"))

    def close(self) -> None:
        """Write what waits, as far as it can be written within a second."""
        self._put(None)
        self._thread.join(_CLOSE_S)

    def _put(self, line: bytes | None) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def _write(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the main thread's
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError):
                while line:
                    line = line[os.write(self._descriptor, line) :]


class LogFile:
    """Lines of one process in a file, with one complaint when they cannot be written."""

    def __init__(self, path: Path, screen: Screen) -> None:
        """Open `path` for appending; complaints go to `screen`."""
        self._path, self._screen = path, screen
        self._file: IO[bytes] | None = None
        self._has_complained = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a buffer that a full disk refuses would be tried again, and fail, when the file is closed.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            self._complain(error)

    def write(self, line: bytes) -> None:
        """Append a line; it is lost when the disk does not take it."""
        if self._file is None:
            return
        try:
            self._file.write(line)
        except OSError as error:
            self._complain(error)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            self._screen.say("launch", f"log {self._path} cannot be written, lines are lost: {error.strerror}")


def hold_standard_streams() -> None:
    """Put /dev/null where standard input, output or error is closed, so that no other file gets their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def complain(text: str) -> None:
    """Write a line to standard error, if anybody reads it."""
    with contextlib.suppress(OSError):
        os.write(2, f"[launch] {text}\n".encode(errors="replace"))
