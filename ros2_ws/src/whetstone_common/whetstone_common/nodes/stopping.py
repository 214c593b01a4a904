# SPDX-License-Identifier: Apache-2.0
"""Ends a node's process when it is asked to, whatever its main thread does: import, read, compute, or hang.

A signal handler of Python runs in the main thread, between two of its instructions; while that one reads weights or
exports a model, it does not run for many seconds. So a second thread hears signals as well, by the file descriptor
that the interpreter writes to at once, and ends what the main thread does not end in time.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Set by launch files: then a node ends when the process that started it is gone, as it would run on without an owner.
END_WITH_PARENT = "WHETSTONE_END_WITH_PARENT"
# The main thread has so long to begin the end; then it is taken from it.
_GRACE_S = 0.8
_PARENT_PERIOD_S = 0.2
UNCLEAN = 1


class StopRequestedError(BaseException):
    """Raised in the main thread to leave a set-up; no handler of exceptions is meant to keep it."""


class Stop:
    """Hears SIGINT, SIGTERM and SIGHUP; only the first counts, so that impatience cannot cut an end short.

    Attributes:
        is_set: Whether the process was asked to end.
        limit_s: After a signal the process is gone by then, closed or not.
    """

    def __init__(self) -> None:
        """Begin to hear."""
        self.is_set = False
        self.limit_s = 1.8
        self._close: Callable[[], None] | None = None
        self._closing = threading.Lock()
        self._has_begun, self._is_closed = threading.Event(), threading.Event()
        self._in_set_up = False
        self._heard, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        threading.Thread(target=self._watch, name="stop", daemon=True).start()

    def before_end(self, close: Callable[[], None]) -> None:
        """From now on `close` makes the node safe and keeps its data; without it the process just ends."""
        self._close = close

    @contextlib.contextmanager
    def setting_up(self) -> Iterator[None]:
        """A set-up that is left when the process is to end; nothing moves, and nothing is unsaved."""
        self._in_set_up = True
        try:
            if self.is_set:
                raise StopRequestedError
            yield
        finally:
            self._in_set_up = False

    def close(self) -> None:
        """Close the node, once; whoever comes second waits until it is closed."""
        self._has_begun.set()
        with self._closing:
            if self._close is not None and not self._is_closed.is_set():
                self._close()
            self._is_closed.set()

    # ---- signals ---------------------------------------------------------------------------------------------------

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        was_set, self.is_set = self.is_set, True
        if self._in_set_up and not was_set:
            raise StopRequestedError

    def _watch(self) -> None:
        self._wait_for_signal()
        end_s = time.monotonic() + self.limit_s
        if self._close is None:
            leave(0, "asked to end while it was starting")
        if not self._has_begun.wait(_GRACE_S):
            if self._in_set_up:
                leave(0, "asked to end in its set-up")
            threading.Thread(target=self.close, name="close", daemon=True).start()
        if self._is_closed.wait(end_s - time.monotonic()):
            # What is left is the middleware's good-bye, which may hang.
            threading.Event().wait(max(0.0, end_s - time.monotonic()))
            leave(0)
        leave(UNCLEAN, f"not closed {self.limit_s:g} s after it was asked to end")

    def _wait_for_signal(self) -> None:
        period_s = _PARENT_PERIOD_S if os.environ.get(END_WITH_PARENT) else None
        parent = os.getppid()
        while not select.select([self._heard], [], [], period_s)[0]:
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                period_s = None


def leave(code: int, text: str = "") -> NoReturn:
    """End the process at once: finalising an interpreter in which threads still compute may take long, or crash."""
    with contextlib.suppress(OSError):
        # Nobody may read any more; that must not keep the process.
        if text and select.select([], [2], [], 0.0)[1]:
            os.write(2, f"{Path(sys.argv[0]).name}: {text}\n".encode(errors="replace"))
    os._exit(code)


_stop: Stop | None = None


def catch_signals() -> Stop:
    """The process's one `Stop`; the first call begins to hear."""
    global _stop
    if _stop is None:
        _stop = Stop()
    return _stop
