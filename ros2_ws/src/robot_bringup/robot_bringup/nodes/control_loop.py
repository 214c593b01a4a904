# SPDX-License-Identifier: Apache-2.0
"""A thread that calls at a steady rate, apart from the executor."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

# An error of the period below this is not counted.
_LATE_S = 0.001


class ControlLoop:
    """Calls `tick(scheduled_s)` at a fixed rate on the steady clock.

    A period that was missed is skipped, never made up for: two commands in a row would be one step of double length.

    Args:
        period_s: Between two calls.
        tick: Gets the scheduled time (steady clock, s), which is free of the jitter of waking up; must not raise.
    """

    def __init__(self, period_s: float, tick: Callable[[float], None]) -> None:
        self._period_s = period_s
        self._tick = tick
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self.late = 0
        self.skipped = 0

    def start(self) -> None:
        """Start calling."""
        self._thread.start()

    def stop(self) -> None:
        """Cease to call; returns when the last call has ended."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def wait(self, duration_s: float) -> None:
        """Let it go on for a while; returns early when it is told to stop."""
        self._stop.wait(duration_s)

    @property
    def is_alive(self) -> bool:
        """Whether it calls."""
        return self._thread.is_alive()

    def _run(self) -> None:
        scheduled_s = time.monotonic()
        while not self._stop.is_set():
            scheduled_s += self._period_s
            if self._stop.wait(max(0.0, scheduled_s - time.monotonic())):
                return
            behind_s = time.monotonic() - scheduled_s
            self.late += behind_s > _LATE_S
            missed = int(behind_s / self._period_s)
            self.skipped += missed
            scheduled_s += missed * self._period_s
            self._tick(scheduled_s)


def raise_priority(priority: int) -> bool:
    """Schedule the calling thread, and those that it starts, by SCHED_FIFO; False without the privilege.

    All threads of the node need it: the control thread waits for the interpreter's lock, and who holds it must not
    wait for a processor.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError:
        return False
    return True
