# SPDX-License-Identifier: Apache-2.0
"""How long the policy takes, for asking early enough."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from whetstone_common.core.stage_latency import ARM, StageLatency

_REMEMBERED = 8


class Latency:
    """The slowest of the newest replies; one slow reply costs a little smoothness, one gap costs a stop."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._asked_s: float | None = None
        self._taken_s: float | None = None
        self.stages = StageLatency()
        self._took_s: deque[float] = deque(maxlen=_REMEMBERED)

    def asked(self, now_s: float) -> None:
        """A request was sent (steady clock)."""
        self._asked_s = now_s

    def arrived(self, now_s: float, stages_s: Mapping[str, float]) -> None:
        """Its reply was taken; how long each stage on its way took."""
        if self._asked_s is not None:
            self._took_s.append(now_s - self._asked_s)
            self.stages.on_cycle(now_s - self._asked_s, stages_s)
        self._asked_s, self._taken_s = None, now_s

    def played(self, now_s: float) -> None:
        """A step has begun; the first one after a reply ends that reply's way."""
        if self._taken_s is not None:
            self.stages.on_stage(ARM, now_s - self._taken_s)
        self._taken_s = None

    def steps(self, dt_s: float, most: int) -> int:
        """Steps to ask ahead: the slowest reply rounded up, and one step of margin for the slot boundary."""
        slowest_s = max(self._took_s, default=0.0)
        return min(most, math.ceil(slowest_s / dt_s) + 1)
