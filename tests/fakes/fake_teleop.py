# SPDX-License-Identifier: Apache-2.0
"""A person with a joystick, as arm_node sees one: engages, pushes, lets go, sticks or vanishes when told."""

from __future__ import annotations

import math

from rclpy.duration import Duration
from vla_interfaces.msg import Takeover

from fakes.base import FakeNode, run
from whetstone_common.nodes import qos


class FakeTeleop(FakeNode):
    """Publishes `takeover`.

    Parameters: `engaged` deadman; `twist` six speeds; `swing` whether the first axis changes sign twice a second, as
    a living hand does; `gripper` opening, `mode`; `shift_s` is added to the time.
    """

    def __init__(self) -> None:
        """Hands off."""
        super().__init__(
            "fake_teleop",
            {
                "rate_hz": 50.0,
                "engaged": False,
                "twist": [0.0] * 6,
                "swing": True,
                "gripper": math.nan,
                "mode": Takeover.VELOCITY,
                "shift_s": 0.0,
            },
        )
        self._sequence = 0
        self._was_engaged = False
        self._publisher = self.create_publisher(Takeover, "takeover", qos.COMMAND)
        self.every(1.0 / self.told["rate_hz"], self._tick)

    def _tick(self) -> None:
        engaged = bool(self.told["engaged"])
        if not engaged and not self._was_engaged:
            return
        self._was_engaged = engaged
        self._sequence += 1
        twist = [float(value) for value in self.told["twist"]]
        if self.told["swing"]:
            twist[0] *= math.sin(2.0 * math.pi * self._sequence / self.told["rate_hz"])
        msg = Takeover(
            source=self.get_fully_qualified_name(),
            source_epoch=self.epoch_ns,
            sequence=self._sequence,
            engaged=engaged,
            mode=self.told["mode"],
            twist=twist,
            gripper=self.told["gripper"],
            time=(self.get_clock().now() + Duration(nanoseconds=int(self.told["shift_s"] * 1e9))).to_msg(),
        )
        self._publisher.publish(msg)


if __name__ == "__main__":
    run(FakeTeleop)
