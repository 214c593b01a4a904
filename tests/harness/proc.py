# SPDX-License-Identifier: Apache-2.0
"""A process that a test starts, wounds and buries."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.priority import go_first
from harness.until import until

_TAIL_BYTES = 6000
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _in_child() -> None:
    """When the test run itself is killed, nothing of it goes on; and the child's session has the test's priority."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        go_first()


class Proc:
    """One child in its own process group, with its output in a file."""

    def __init__(self, name: str, command: Sequence[str], *, folder: Path, env: Mapping[str, str]) -> None:
        """Start it.

        Args:
            name: Used for the output file and in messages.
            command: Program and arguments.
            folder: Where the output file goes.
            env: Whole environment of the child.
        """
        self.name = name
        self.output = folder / f"{name}.log"
        with self.output.open("ab") as sink:
            self._popen = subprocess.Popen(  # noqa: S603 - the tests' own commands
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=folder,
                start_new_session=True,
                preexec_fn=_in_child,  # noqa: PLW1509 - calls into the kernel, nothing that could deadlock
            )
        self.pid = self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative signal number, or None while it lives."""
        return self._popen.poll()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.exit_code is None

    def send(self, number: signal.Signals) -> int:
        """Signal the whole group.

        Returns:
            CLOCK_MONOTONIC nanoseconds just before the signal.
        """
        now_ns = time.monotonic_ns()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
        return now_ns

    def kill9(self) -> int:
        """SIGKILL, and wait until the kernel has taken it away."""
        at_ns = self.send(signal.SIGKILL)
        self._popen.wait(timeout=10.0)
        return at_ns

    def stop(self) -> int:
        """SIGSTOP."""
        return self.send(signal.SIGSTOP)

    def cont(self) -> int:
        """SIGCONT."""
        return self.send(signal.SIGCONT)

    def term(self) -> int:
        """SIGTERM."""
        return self.send(signal.SIGTERM)

    def interrupt(self) -> int:
        """SIGINT, as Ctrl-C does."""
        return self.send(signal.SIGINT)

    def wait_exit(self, deadline_s: float = 10.0) -> int:
        """Wait for the end and return the exit code."""
        until(lambda: not self.alive, deadline_s, f"{self.name} ends")
        code = self.exit_code
        assert code is not None
        return code

    def group_members(self) -> list[int]:
        """Pids of the group that still live; zombies do not count."""
        return [pid for pid, (group, state) in _process_table().items() if group == self.pid and state != "Z"]

    def bury(self) -> None:
        """SIGKILL what is left of the group and reap the child."""
        self.send(signal.SIGKILL)
        self._popen.wait(timeout=10.0)
        until(lambda: not self.group_members(), 5.0, f"group of {self.name} is empty")

    def tail(self) -> str:
        """Last part of the output."""
        if not self.output.exists():
            return ""
        return self.output.read_bytes()[-_TAIL_BYTES:].decode("utf-8", errors="replace")


def carriers(mark: str) -> list[int]:
    """Pids of all living processes that carry a text in their environment, whatever group or session they are in."""
    pids = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            found = mark.encode() in environ.read_bytes()
        except OSError:
            continue
        if found:
            pids.append(int(environ.parent.name))
    return pids


def _process_table() -> dict[int, tuple[int, str]]:
    """Pid to (process group, state letter)."""
    table = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        # The command name may hold blanks and brackets; fields are counted from the last bracket.
        fields = text.rpartition(")")[2].split()
        table[int(stat.parent.name)] = (int(fields[2]), fields[0])
    return table
