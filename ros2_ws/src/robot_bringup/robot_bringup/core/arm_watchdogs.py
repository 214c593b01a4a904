# SPDX-License-Identifier: Apache-2.0
"""The watchdogs of an arm on the policy and on its own time; those on the joints are in `measured_joints`."""

from __future__ import annotations

from robot_bringup.core.settings import ArmSettings
from robot_bringup.core.watchdog import ClockJump, Stall, Timeout

_DISORDER_S = 0.1  # as for joint states that overtake each other
_STALL_S = 0.1  # without a command for this long a controller has stopped the arm


class ArmWatchdogs:
    """All of one arm.

    Attributes:
        chunk: Time that the arm waits for a chunk.
        ros_clock: ROS time that goes back.
        stall: Pauses of the control loop itself.
    """

    def __init__(self, settings: ArmSettings) -> None:
        self.ros_clock = ClockJump(_DISORDER_S)
        self.stall = Stall(_STALL_S)
        self.configure(settings)

    def configure(self, settings: ArmSettings) -> None:
        """Other limits; what was counted is forgotten. The clocks stay as they are.

        Raises:
            ValueError: A limit is not finite and positive.
        """
        self.chunk = Timeout(settings.chunk_timeout_s)
