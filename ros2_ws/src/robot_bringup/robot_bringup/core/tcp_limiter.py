# SPDX-License-Identifier: Apache-2.0
"""TCP targets within the limits of the arm, for worlds that run in process: as fast there as behind arm_node.

One thing is simpler than in arm_node: what the limits reject costs a tick of braking, where arm_node asks for another
chunk in the same tick.

Legend: n joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robot_bringup.core.safety import LimitVerdict, Motion, limit, seed
from whetstone_common.core.kinematics import Kinematics, Pose
from whetstone_common.core.robot import MotionLimits

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LimitedTcpCommand:
    """A TCP target after the limits.

    Attributes:
        joints: (n,) rad to command.
        opening: To command.
        pose: That the TCP has at those joints.
        is_rejected: Whether the target was not finite or too far from what is allowed: the arm brakes instead.
    """

    joints: Array
    opening: float
    pose: Pose
    is_rejected: bool


class TcpLimiter:
    """Turns TCP targets into joint commands within the arm's limits, one per tick.

    Args:
        kinematics: Of the arm.
        limits: Of the arm.
        posture: (n,) rad that spare joints keep to.
        dt_s: Seconds between two commands.
    """

    def __init__(self, kinematics: Kinematics, limits: MotionLimits, posture: npt.ArrayLike, dt_s: float) -> None:
        self._kinematics, self._limits, self._dt_s = kinematics, limits, dt_s
        self._human_limits = limits.for_human()
        self._posture = np.asarray(posture, dtype=np.float64)
        self._last: Motion | None = None

    def start(self, joints: Array, opening: float) -> None:
        """Begin at rest at measured joints (n,) rad and gripper opening.

        Raises:
            ValueError: A joint is not finite, or further outside its limits than one step.
        """
        self._last = seed(joints, opening, self._limits)

    def limited(self, pose: Pose, opening: float, *, by_human: bool = False) -> LimitedTcpCommand:
        """The command of the next tick towards a TCP target; a human's target may be as far away as they like.

        Raises:
            RuntimeError: `start` was not called.
        """
        if self._last is None:
            raise RuntimeError("TcpLimiter.limited before TcpLimiter.start: it does not know where the arm is")
        joints = self._joints_at(pose, self._last.position)
        limits = self._human_limits if by_human else self._limits
        result = limit(joints, opening, self._last, limits, self._dt_s, lambda q: self._kinematics.fk(q).position)
        self._last = motion = result.motion
        is_rejected = result.verdict in (LimitVerdict.REFUSED, LimitVerdict.NOT_FINITE)
        return LimitedTcpCommand(motion.position, motion.opening, self._kinematics.fk(motion.position), is_rejected)

    def _joints_at(self, pose: Pose, start: Array) -> Array:
        """(n,) rad; NaN for a pose that is not finite, which `limit` then rejects."""
        if not (np.isfinite(pose.position).all() and np.isfinite(pose.rotation).all()):
            return np.full_like(start, np.nan)
        return self._kinematics.ik(start, pose, posture=self._posture)
