# SPDX-License-Identifier: Apache-2.0
"""The thread that notices a starved machine."""

from __future__ import annotations

import time

from harness.canary import STARVED_S, Canary
from harness.until import until


def test_when_a_wake_up_is_late_expect_starvation_to_be_noticed() -> None:
    canary = Canary()
    # Holding its lock is the same to the thread as not being given a core.
    with canary._lock:
        pass_time(STARVED_S * 3)
    until(lambda: canary.starved, 5.0, "starvation is noticed")
    canary.close()


def test_when_closed_expect_the_thread_to_end() -> None:
    canary = Canary()
    canary.close()
    assert not canary._thread.is_alive()
    assert canary.worst_s >= 0.0


def pass_time(duration_s: float) -> None:
    """Let time pass."""
    end_s = time.monotonic() + duration_s
    until(lambda: time.monotonic() >= end_s, duration_s + 5.0)
