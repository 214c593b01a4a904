# SPDX-License-Identifier: Apache-2.0
"""The log of all commands, written by its own thread: the control loop never waits for a disk."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from pathlib import Path

from robot_bringup.core.outputs import ArmCommand

_FULL = 100_000  # lines that may wait for a slow disk


class CommandLog:
    """Appends one JSON line per command.

    Args:
        path: The file; it is created with its folder.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        if _is_cut(path):
            self._file.write(b"\n")  # else the first new line would become part of the one that was cut short
        self._lines: queue.Queue[tuple[int, ArmCommand] | None] = queue.Queue(_FULL)
        self._thread = threading.Thread(target=self._write, name="command_log", daemon=True)
        self._thread.start()
        self.dropped = 0

    def add(self, command: ArmCommand) -> None:
        """Note a command that was sent just now."""
        try:
            self._lines.put_nowait((time.monotonic_ns(), command))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits, and close."""
        self._lines.put(None)
        self._thread.join()
        self._file.close()

    def _write(self) -> None:
        while (entry := self._lines.get()) is not None:
            try:
                self._file.write(_line(*entry))
            except OSError:
                self.dropped += 1


def _is_cut(path: Path) -> bool:
    """Whether the last line of a file has no end, as a kill leaves it."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _line(t_ns: int, command: ArmCommand) -> bytes:
    stamp = command.stamp
    entry = {
        "t_ns": t_ns,
        "epoch": stamp.epoch,
        "episode": stamp.episode,
        "request": stamp.request_id,
        "step": command.step,
        "source": command.actor.name.lower(),
        "q": [*command.motion.position.tolist(), command.motion.opening],
    }
    return json.dumps(entry).encode() + b"\n"
