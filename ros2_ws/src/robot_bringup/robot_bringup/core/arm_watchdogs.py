# SPDX-License-Identifier: Apache-2.0
"""The watchdogs of an arm: silence of joints and policy, joints that do not move, clocks that go back."""

from __future__ import annotations

from robot_bringup.core.settings import ArmSettings
from robot_bringup.core.watchdog import ClockJump, FrozenParts, Timeout

_DISORDER_S = 0.1  # joint states that overtake each other are no clock jump


class ArmWatchdogs:
    """All of one arm.

    Attributes:
        joints: Silence of the joint states.
        chunk: Time that the arm waits for a chunk.
        frozen: Joints that are reported unchanged while the command moves.
        ros_clock: ROS time that goes back.
        joint_clock: Stamps of joint states that go back.
    """

    def __init__(self, settings: ArmSettings) -> None:
        self.ros_clock = ClockJump(_DISORDER_S)
        self.joint_clock = ClockJump(0.0 if settings.lockstep else _DISORDER_S)
        self.configure(settings)

    def configure(self, settings: ArmSettings) -> None:
        """Other limits; what was counted is forgotten. The clocks stay as they are.

        Raises:
            ValueError: A limit is not finite and positive.
        """
        self.joints = Timeout(settings.joint_timeout_s)
        self.chunk = Timeout(settings.chunk_timeout_s)
        self.frozen = FrozenParts(settings.frozen_joints_s)
