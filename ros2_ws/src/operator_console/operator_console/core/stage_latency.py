# SPDX-License-Identifier: Apache-2.0
"""How long the stages of the request cycle took lately."""

from __future__ import annotations

from collections import deque

_REMEMBERED = 50
_MS_PER_S = 1000.0


class StageLatency:
    """The newest durations of each stage, and of the whole way from request to chunk."""

    def __init__(self) -> None:
        """Nothing was measured yet."""
        self._stages: dict[str, deque[float]] = {}
        self._asked: tuple[int, float] = (0, 0.0)

    def on_request(self, request_id: int, now_s: float) -> None:
        """The arm asks the policy."""
        self._asked = (request_id, now_s)

    def on_chunk(self, request_id: int, now_s: float) -> None:
        """The policy has answered; only the answer to the newest request counts."""
        asked_id, asked_s = self._asked
        if request_id == asked_id:
            self.on_stage("request to chunk", now_s - asked_s)

    def on_stage(self, stage: str, duration_s: float) -> None:
        """A stage took so long."""
        self._stages.setdefault(stage, deque(maxlen=_REMEMBERED)).append(duration_s * _MS_PER_S)

    def medians_ms(self) -> dict[str, tuple[float, int]]:
        """Median by stage (ms), and from how many."""
        return {name: (_median(values), len(values)) for name, values in self._stages.items()}


def _median(values: deque[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
