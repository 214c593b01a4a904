# SPDX-License-Identifier: Apache-2.0
"""Joint states by name: never by position in the message."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robot_bringup.core.robot import GripperOutput, Robot
from whetstone_common.core.reason import Reason, ReasonedError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class JointSample:
    """Measured joints.

    Attributes:
        positions: (n,) rad, in the robot file's order.
        opening: Gripper, 0..1; NaN when the robot does not measure one.
        stamp_ns: ROS time of the measurement.
    """

    positions: Array
    opening: float
    stamp_ns: int


def read_joints(robot: Robot, names: Sequence[str], positions: Sequence[float], stamp_ns: int) -> JointSample:
    """Pick this robot's joints; other joints in the message do not matter, whatever their order.

    Raises:
        ReasonedError: Lengths differ, a name is doubled or missing, or one of our values is not finite.
    """
    if len(names) != len(positions) or len(set(names)) != len(names):
        raise ReasonedError(Reason.BAD_MESSAGE, f"joint state: {len(names)} names, {len(positions)} positions")
    by_name = dict(zip(names, positions, strict=True))
    has_gripper = robot.gripper.output is not GripperOutput.NONE
    wanted = robot.contract_joints if has_gripper else robot.joints
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise ReasonedError(Reason.BAD_MESSAGE, f"joint state lacks {', '.join(missing)}")
    bad = [name for name in wanted if not math.isfinite(by_name[name])]
    if bad:
        raise ReasonedError(Reason.NOT_FINITE, f"joint state: {bad[0]} is {by_name[bad[0]]}")
    opening = robot.gripper.to_opening(by_name[robot.gripper.joint]) if has_gripper else float("nan")
    return JointSample(np.array([by_name[name] for name in robot.joints], dtype=np.float64), opening, stamp_ns)
