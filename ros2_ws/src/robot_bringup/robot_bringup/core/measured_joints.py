# SPDX-License-Identifier: Apache-2.0
"""The measured joints of an arm, and whether they may be believed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from robot_bringup.core.settings import ArmSettings
from robot_bringup.core.watchdog import ClockJump, FrozenParts, Timeout
from whetstone_common.core.joint_parts import JointMessage, shown
from whetstone_common.core.reason import Reason
from whetstone_common.core.robot import Robot
from whetstone_common.core.robot_joints import JointSample, RobotJoints

Array = npt.NDArray[np.float64]

_DISORDER_S = 0.1  # joint states that overtake each other are no clock jump
# A controller that was switched off, or an arm that stopped by itself, still measures, and encoders flicker: those of
# 4096 steps a turn by 0.0015 rad. Switched on again it would jump to the newest command. An arm that presses against
# something stays too, but is not told to go so much further.
_STILL_RAD, _STILL_MOVED_RAD = 0.002, 0.05


class MeasuredJoints:
    """Keeps the newest joint state and watches its source: silence, stamps that go back, values that never change.

    Args:
        robot: Whose joints count.
        settings: Times and modes.

    Attributes:
        sample: The newest joint state, None before the first.

    Raises:
        ValueError: A time-out is not finite and positive.
    """

    def __init__(self, robot: Robot, settings: ArmSettings) -> None:
        self._robot = robot
        # A world that waits for each command cannot send a second message to confirm that its clock went back.
        self._joints = RobotJoints(robot, confirm_back=not settings.lockstep, sim_time=settings.sim_time)
        self._clock = ClockJump(0.0 if settings.lockstep else _DISORDER_S)
        self.sample: JointSample | None = None
        self.configure(settings)

    def configure(self, settings: ArmSettings) -> None:
        """Set other time-outs; what was counted is forgotten. The clock stays as it is.

        Raises:
            ValueError: A time-out is not finite and positive.
        """
        self._silence = Timeout(settings.joint_timeout_s)
        self._frozen = [FrozenParts(settings.frozen_joints_s)]
        if not settings.lockstep:  # a world that waits has no controller that is switched off
            still = FrozenParts(settings.frozen_joints_s, moved_rad=_STILL_MOVED_RAD, still_rad=_STILL_RAD)
            self._frozen.append(still)

    def read(self, message: JointMessage, now_s: float, ros_ns: int | None) -> JointSample | None:
        """Merge a message into the joint state; `accept` makes the result the newest one.

        Args:
            message: The message.
            now_s: Steady clock.
            ros_ns: ROS time, None where the stamps themselves are the time.

        Returns:
            All joints; None while some are missing, or when the message held none of them.

        Raises:
            ReasonedError: The message is refused as a whole; the text says why.
        """
        return self._joints.update(message, now_s, ros_ns)

    def accept(self, sample: JointSample) -> float:
        """Make a sample the newest one; return how many seconds its stamp went back, 0 when it did not."""
        back_s = self._clock.update(sample.stamp_ns)
        self._silence.feed(sample.heard_s)
        self.sample = sample
        return back_s

    # ---- doubts ------------------------------------------------------------------------------------------------------

    def loss(self, now_s: float) -> tuple[Reason, str] | None:
        """Why the joints count as lost; None while they are heard, and before they were ever heard."""
        return self._joints.loss(now_s) if self._silence.expired(now_s) else None

    def conflict(self, now_s: float) -> str:
        """Two publishers of one joint in words while both speak, else empty."""
        return self._joints.conflict(now_s)

    def problem(self, now_s: float) -> str:
        """Why no motion may start from the joints as they are known; empty when it may."""
        if self.sample is None or self._silence.expired(now_s):
            return self._joints.loss(now_s)[1]
        return self._joints.conflict(now_s)

    def frozen(self, sample: JointSample, clock_s: float, commanded: Array) -> str:
        """Which joints stay where they are while the command (n,) moves, in words; empty for none."""
        found = [each.update(clock_s, commanded, sample.positions, sample.groups) for each in self._frozen]
        frozen = sorted(set().union(*found))
        if not frozen:
            return ""
        names = shown([self._robot.joints[index] for index in frozen])
        return f"{names} on {self._robot.joint_states_topic}: positions do not change under motion"

    def forget_frozen(self) -> None:
        """Judge whether joints are frozen by what comes from now on."""
        for each in self._frozen:
            each.clear()
