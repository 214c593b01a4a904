# SPDX-License-Identifier: Apache-2.0
"""The arm's output period at 100 Hz while inference is slow, from arm_node's own log on the monotonic clock."""

from __future__ import annotations

import time

import numpy as np
from figures import Figure, summarise
from stage import stage

from harness.cells import arm_cell
from harness.until import until

GROUP = "arm_node at 100 Hz (error of the output period)"
PERIOD_MS = 10.0
BAR_MS = 1.0


def run(*, seconds: float) -> list[Figure]:
    """Inference of 20 ms, then of 300 ms."""
    quick = _measure(0.02, seconds)
    slow = _measure(0.3, seconds)
    base = summarise(GROUP, "inference 20 ms", "ms", np.abs(quick - PERIOD_MS))
    late = summarise(GROUP, "inference 300 ms", "ms", np.abs(slow - PERIOD_MS), baseline=base, bar=BAR_MS, bar_on="p99")
    gap = summarise(GROUP, "longest period, inference 300 ms", "ms", [float(slow.max())])
    return [base, late, gap]


def _measure(inference_s: float, seconds: float) -> np.ndarray:
    """Periods (ms) between the commands of a running arm."""
    with stage() as world:
        arm = {"execution": "async", "chunk_open_loop_s": 2.0, "chunk_timeout_s": 5.0}
        cell = arm_cell(world, policy={"delays_s": [inference_s], "execute_steps": 16}, arm=arm)
        cell.run()
        began_ns = time.monotonic_ns()
        until(lambda: time.monotonic_ns() - began_ns > seconds * 1e9, seconds + 5.0, "the measurement")
        times_ns = np.array([command.t_ns for command in cell.commands() if command.t_ns > began_ns])
    return np.diff(times_ns) * 1e-6
