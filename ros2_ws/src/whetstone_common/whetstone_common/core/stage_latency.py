# SPDX-License-Identifier: Apache-2.0
"""How long the stages of the request cycle took lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np

# Measured by the nodes on the way, in this order; see vla_interfaces/StageTimes.
STAGES = ("camera", "wait", "preprocess", "queue", "prefix", "noise", "denoise", "steer")
CAMERA = STAGES[0]  # before the request, so no part of the whole
TRANSPORT, TOTAL, ARM = "transport", "request to chunk", "arm"
SHOWN = (*STAGES, TRANSPORT, TOTAL, ARM)
_REMEMBERED = 256
_PREFIX = "latency/"
_LONGEST_S = 3600.0  # anything longer is no duration
_MS_PER_S = 1000.0


@dataclass(frozen=True)
class StageSummary:
    """Durations of a stage.

    Attributes:
        median_ms: Half took no longer.
        p99_ms: 99 % took no longer.
        count: How many were measured.
    """

    median_ms: float
    p99_ms: float
    count: int


def latency_values(latencies: Mapping[str, StageSummary]) -> dict[str, float]:
    """As figures of a node's diagnostics, `latency/STAGE/FIELD`."""
    return {
        f"{_PREFIX}{stage}/{name}": value for stage, each in latencies.items() for name, value in asdict(each).items()
    }


def latencies_of(values: Mapping[str, str]) -> dict[str, StageSummary]:
    """What such figures say; those that cannot be read are left out."""
    found = {}
    for stage in SHOWN:
        try:
            median, p99, count = (float(values[f"{_PREFIX}{stage}/{f.name}"]) for f in fields(StageSummary))
        except (KeyError, ValueError):
            continue
        found[stage] = StageSummary(median, p99, int(count))
    return found


class StageLatency:
    """The newest durations of each stage, and of the whole way from request to chunk."""

    def __init__(self) -> None:
        """Nothing was measured yet."""
        self._stages: dict[str, deque[float]] = {}

    def on_cycle(self, total_s: float, stages_s: Mapping[str, float]) -> None:
        """A chunk has come.

        Args:
            total_s: From the request to the chunk.
            stages_s: Duration of each of `STAGES`; what is left of the total is transport.
        """
        for stage, duration_s in stages_s.items():
            self.on_stage(stage, duration_s)
        self.on_stage(TRANSPORT, total_s - sum(s for stage, s in stages_s.items() if stage != CAMERA))
        self.on_stage(TOTAL, total_s)

    def on_stage(self, stage: str, duration_s: float) -> None:
        """A stage took so long; what cannot be a duration is left out."""
        if 0.0 <= duration_s <= _LONGEST_S:
            self._stages.setdefault(stage, deque(maxlen=_REMEMBERED)).append(duration_s * _MS_PER_S)

    def copy(self) -> StageLatency:
        """The same durations, to be summed up where nobody waits for a lock."""
        copied = StageLatency()
        copied._stages = {stage: values.copy() for stage, values in self._stages.items()}
        return copied

    def summary(self) -> dict[str, StageSummary]:
        """Each stage that was measured, in the order of `SHOWN`."""
        found = {}
        for stage in SHOWN:
            if values := self._stages.get(stage):
                median_ms, p99_ms = np.percentile(values, (50, 99))
                found[stage] = StageSummary(float(median_ms), float(p99_ms), len(values))
        return found
