# SPDX-License-Identifier: Apache-2.0
"""Where to start from after a stop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from robot_bringup.core.safety import Motion, brake, seed
from whetstone_common.core.robot import MotionLimits

Array = npt.NDArray[np.float64]


def reseed(measured: Array, opening: float, last: Motion | None, limits: MotionLimits, *, trusted: bool) -> Motion:
    """The motion at rest from which the next command is counted.

    After a fault, or when someone moved the arm, that is the measured state: anything else would jump. When tracking
    was fine it is the last command: an arm under load sags below its command, and starting from the measured state
    would let it sink a little with every stop, or step back while it lags.

    Args:
        measured: (n,) rad.
        opening: Measured gripper opening.
        last: The last command, None when there is none.
        limits: Bounds; `tracking_rad` says what fine tracking is.
        trusted: Whether the last command still means something (no fault since).

    Raises:
        ValueError: The measured state is not finite or outside the limits.
    """
    fresh = seed(measured, opening, limits)
    if last is None or not trusted or np.abs(measured - last.position).max() > limits.tracking_rad:
        return fresh
    return Motion(last.position, np.zeros_like(last.position), last.opening)


def ramp_steps(last: Motion, limits: MotionLimits, dt_s: float) -> int:
    """How many commands the hold ramp from `last` takes until nothing moves."""
    steps = 0
    while not last.at_rest:
        last = brake(last, limits, dt_s)
        steps += 1
    return steps
