# SPDX-License-Identifier: Apache-2.0
"""Drivers of an arm that stands at home, as ros2_control and camera drivers publish them: joint states and images."""

from __future__ import annotations

from functools import partial

from rclpy.publisher import Publisher
from sensor_msgs.msg import Image, JointState

from fakes.base import FakeNode, run
from fakes.fake_camera import picture
from whetstone_common.nodes import qos
from whetstone_common.nodes.robot_files import find_robot

_STATE_RATE_HZ, _IMAGE_RATE_HZ, _SIZE_PX = 100.0, 20.0, 96


class FakeDriver(FakeNode):
    """Publishes what a robot file names. Parameter: `robot`, its path or stem."""

    def __init__(self) -> None:
        """Publish on the topics of the robot file."""
        super().__init__("fake_driver", {"robot": ""})
        robot = find_robot(self.told["robot"])
        self._names = [*robot.joints, robot.gripper.joint]
        self._positions = [*map(float, robot.home), float(robot.gripper.open)]
        self._number = 0
        self._joints = self.create_publisher(JointState, robot.joint_states_topic, qos.SENSOR_OUT)
        self.every(1.0 / _STATE_RATE_HZ, self._state)
        for topic in robot.cameras.values():
            publisher = self.create_publisher(Image, topic, qos.SENSOR_OUT)
            self.every(1.0 / _IMAGE_RATE_HZ, partial(self._frame, publisher))

    def _state(self) -> None:
        msg = JointState(name=self._names, position=self._positions)
        msg.header.stamp = self.get_clock().now().to_msg()
        self._joints.publish(msg)

    def _frame(self, publisher: Publisher) -> None:
        self._number += 1
        msg = Image(height=_SIZE_PX, width=_SIZE_PX, encoding="rgb8", step=3 * _SIZE_PX)
        msg.data = picture(self._number, _SIZE_PX).tobytes()
        msg.header.stamp = self.get_clock().now().to_msg()
        publisher.publish(msg)


if __name__ == "__main__":
    run(FakeDriver)
