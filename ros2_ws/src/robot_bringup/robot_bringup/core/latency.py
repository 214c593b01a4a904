# SPDX-License-Identifier: Apache-2.0
"""How long the policy takes, for asking early enough."""

from __future__ import annotations

import math
from collections import deque

_REMEMBERED = 8


class Latency:
    """The slowest of the newest replies; one slow reply costs a little smoothness, one gap costs a stop."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._asked_s: float | None = None
        self._took_s: deque[float] = deque(maxlen=_REMEMBERED)

    def asked(self, now_s: float) -> None:
        """A request was sent (steady clock)."""
        self._asked_s = now_s

    def arrived(self, now_s: float) -> None:
        """Its reply was taken."""
        if self._asked_s is not None:
            self._took_s.append(now_s - self._asked_s)
        self._asked_s = None

    def steps(self, dt_s: float, most: int) -> int:
        """Steps to ask ahead: the slowest reply rounded up, and one step of margin for the slot boundary."""
        slowest_s = max(self._took_s, default=0.0)
        return min(most, math.ceil(slowest_s / dt_s) + 1)
