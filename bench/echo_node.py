# SPDX-License-Identifier: Apache-2.0
"""The floor of the serving benchmark: one bare rclpy process between the same images and the same chunk."""

from __future__ import annotations

import sys
from array import array

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from vla_interfaces.msg import ActionChunk, NodeStatus

from whetstone_common.nodes import qos

_STATUS_PERIOD_S = 0.2


class EchoNode(Node):
    """Answers the last image of a set with a chunk of the usual size."""

    def __init__(self, cameras: list[str]) -> None:
        """Listen to the cameras."""
        super().__init__("echo_node")
        self._cameras = set(cameras)
        self._seen: set[str] = set()
        self._answer = ActionChunk(horizon=16, action_dim=7, actions=array("f", bytes(4 * 16 * 7)))
        self._chunks = self.create_publisher(ActionChunk, "action_chunk", qos.RING)
        self._status = self.create_publisher(NodeStatus, "node_status", qos.LATCHED)
        for name in cameras:
            self.create_subscription(Image, f"/camera/{name}/image_raw", self.on_image, qos.SENSOR_IN_RELIABLE)
        self.create_timer(_STATUS_PERIOD_S, self.tell)

    def on_image(self, msg: Image) -> None:
        """Note one camera; answer when all have spoken."""
        self._seen.add(msg.header.frame_id)
        if self._seen == self._cameras:
            self._seen.clear()
            self._answer.stamp.observation = msg.header.stamp
            self._chunks.publish(self._answer)

    def tell(self) -> None:
        """Say that it works."""
        self._status.publish(NodeStatus(node="/echo_node", state=NodeStatus.READY))


def main() -> None:
    """Spin until interrupted; the arguments before --ros-args are camera names."""
    names = sys.argv[1 : sys.argv.index("--ros-args")] if "--ros-args" in sys.argv else sys.argv[1:]
    rclpy.init()
    node = EchoNode(names)
    executor = EventsExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok():
            executor.spin_once(timeout_sec=0.1)
    except (ExternalShutdownException, KeyboardInterrupt):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
