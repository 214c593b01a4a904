# SPDX-License-Identifier: Apache-2.0
"""Takeover messages of one node: a stream while engaged, one message on release."""

from __future__ import annotations

import time

from vla_interfaces.msg import Takeover

from robot_operation.core.devices import Intent
from whetstone_common.core.kinematics import Pose
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode


class TakeoverStream:
    """Publishes `takeover`.

    Args:
        node: Whose name, identity and clock are used; it has the parameters `linear_speed_m_s` and
            `angular_speed_rad_s`.

    Attributes:
        is_driving: Whether the newest message was of an engaged operator.
    """

    def __init__(self, node: WhetstoneNode) -> None:
        self._node = node
        self._publisher = node.create_publisher(Takeover, "takeover", qos.RING)
        # A node that is set up again goes on with its epoch, in which numbers only grow.
        self._sequence = time.monotonic_ns()
        self.is_driving = False

    def send(self, intent: Intent) -> None:
        """Pass on what the operator commands; an intent that is not alive is left to the arm's own time-out."""
        if not intent.alive:
            return
        if not intent.engaged:
            if self.is_driving:
                self.release()
            return
        self.is_driving = True
        msg = self._message(engaged=True)
        speeds = [self._node.param("linear_speed_m_s")] * 3 + [self._node.param("angular_speed_rad_s")] * 3
        msg.twist = [float(fraction) * speed for fraction, speed in zip(intent.direction, speeds, strict=True)]
        msg.gripper = float(intent.opening)
        self._publisher.publish(msg)

    def send_target(self, pose: Pose, opening: float) -> None:
        """Drive towards a pose of the TCP, base frame, with the gripper opened 0 to 1."""
        self.is_driving = True
        msg = self._message(engaged=True)
        msg.mode = Takeover.TCP_TARGET
        msg.tcp_target = [*pose.position.tolist(), *pose.quaternion_xyzw().tolist()]
        msg.gripper = opening
        self._publisher.publish(msg)

    def forward(self, msg: Takeover) -> None:
        """Pass on a command that another node made, as this node's."""
        self.is_driving = True
        self._sequence += 1
        msg.source, msg.source_epoch = self._node.get_fully_qualified_name(), self._node.epoch_ns
        msg.sequence, msg.engaged = self._sequence, True
        self._publisher.publish(msg)

    def stop(self) -> None:
        """Fall silent without a release: the arm stops when an operator falls silent."""
        self.is_driving = False

    def release(self) -> None:
        """Let go: the arm follows the policy again."""
        self.is_driving = False
        self._publisher.publish(self._message(engaged=False))

    def _message(self, *, engaged: bool) -> Takeover:
        self._sequence += 1
        return Takeover(
            source=self._node.get_fully_qualified_name(),
            source_epoch=self._node.epoch_ns,
            sequence=self._sequence,
            engaged=engaged,
            mode=Takeover.VELOCITY,
            gripper=float("nan"),
            time=self._node.get_clock().now().to_msg(),
        )
