# SPDX-License-Identifier: Apache-2.0
"""Notices that the machine itself was too busy to be a judge of reaction times."""

from __future__ import annotations

import threading
import time

_PERIOD_S = 0.005
# A machine that does not let a thread run for this long cannot judge a promise of 100 ms.
STARVED_S = 0.1


class Canary:
    """A thread that only wants to wake up on time."""

    def __init__(self) -> None:
        """Start it."""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._worst_s = 0.0
        self._thread = threading.Thread(target=self._run, name="canary", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last_s = time.monotonic()
        while not self._stop.wait(_PERIOD_S):
            now_s = time.monotonic()
            with self._lock:
                self._worst_s = max(self._worst_s, now_s - last_s - _PERIOD_S)
            last_s = now_s

    @property
    def worst_s(self) -> float:
        """Longest delay of a wake-up so far."""
        with self._lock:
            return self._worst_s

    @property
    def starved(self) -> bool:
        """Whether times that were measured meanwhile say more about the machine than about the product."""
        return self.worst_s > STARVED_S

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=5.0)
