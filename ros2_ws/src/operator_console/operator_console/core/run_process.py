# SPDX-License-Identifier: Apache-2.0
"""One training run as a child process: started, watched, interrupted; it ends when its owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence

from whetstone_common.core.child_process import die_with_parent

# The arm that a person operates comes first.
_NICENESS = 5
_TAIL_BYTES = 8192
_LINES = 14


class RunProcess:
    """A process and its output.

    It is asked to end by SIGTERM when the thread that has made this object ends, so that is the thread of a node.

    Args:
        name: Of the run.
        command: Executable and arguments; no shell reads them.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        # Not a pipe: what it says while it ends must not fail because the owner is gone already.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process is shown
        self._is_interrupted = False
        self._process = subprocess.Popen(
            ["nice", "-n", str(_NICENESS), *command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120"},
            start_new_session=True,
            preexec_fn=_prepared(),
        )

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def state(self) -> str:
        """What it does, in words."""
        code = self._process.poll()
        if code is None:
            return "is ending: it stores what it has" if self._is_interrupted else "runs"
        if code == 0:
            return "has finished"
        return (
            "was stopped; it can be resumed" if self._is_interrupted else f"has ended with an error (exit code {code})"
        )

    def interrupt(self) -> None:
        """Ask it to end as Ctrl-C does: it stores what it has, and can be resumed."""
        if self.is_running:
            self._is_interrupted = True
            self._process.send_signal(signal.SIGINT)

    def last_lines(self) -> tuple[str, ...]:
        """Its last lines, the newest last."""
        size = os.fstat(self._output.fileno()).st_size
        data = os.pread(self._output.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        lines = [line.rstrip() for line in data.decode(errors="replace").splitlines()]
        return tuple([line for line in lines if line][-_LINES:])


def _prepared() -> Callable[[], None]:
    """What the child runs before exec: it ends with its owner, and hears interrupts where that (nohup) does not."""
    ask_for_signal = die_with_parent()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        ask_for_signal()

    return prepare
