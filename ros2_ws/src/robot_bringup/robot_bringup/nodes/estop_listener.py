# SPDX-License-Identifier: Apache-2.0
"""Hears the emergency stop whatever the publisher's QoS, on a thread of its own, and says who spoke."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Bool

from robot_bringup.core.estop import UNIDENTIFIED
from whetstone_common.nodes import qos

_JOIN_S = 2.0


class EstopListener:
    """Two subscriptions on a thread of their own.

    The latched one hears a button that was pressed before this node started. The volatile, best-effort one matches
    every publisher, also `ros2 topic pub` and micro-ROS with their default QoS. The thread keeps a busy executor
    from delaying a stop; the executor that is driven by events cannot tell who published either (rclpy 9.1).
    """

    PROFILES = (qos.ESTOP_LATCHED, qos.ESTOP_ANY)

    def __init__(self, node: Node, topic: str, on_message: Callable[[str, int, bool], None]) -> None:
        """Start to listen.

        Args:
            node: Whose context, namespace and remappings count.
            topic: Of std_msgs/Bool.
            on_message: Gets publisher identity, order within the publisher, and whether it is pressed. Called on
                the listener's thread; must not raise.
        """
        self._on_message = on_message
        # Arguments of the process would give this node the name of the first one.
        self._node = Node(
            f"_{node.get_name()}_estop",
            context=node.context,
            namespace=node.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._topic = node.resolve_topic_name(topic)
        for profile in self.PROFILES:
            self._node.create_subscription(Bool, self._topic, self._on_bool, profile)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="estop", daemon=True)
        self._thread.start()

    def _on_bool(self, msg: Bool, info: Any) -> None:
        gid = info.get("publisher_gid")
        source = bytes(gid["data"]).hex() if gid else UNIDENTIFIED
        if source == UNIDENTIFIED and not msg.data and self._node.count_publishers(self._topic) > 1:
            return  # nobody knows whose release this is, so it releases nothing
        self._on_message(source, info.get("publication_sequence_number") or info["source_timestamp"], msg.data)

    def close(self) -> None:
        """Stop listening."""
        self._executor.shutdown(timeout_sec=_JOIN_S)
        self._thread.join(_JOIN_S)
        self._node.destroy_node()
