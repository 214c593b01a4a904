# SPDX-License-Identifier: Apache-2.0
"""Who else in the graph touches the arm: sources of the emergency stop, and other nodes that command the controller."""

from __future__ import annotations

from collections.abc import Sequence

from std_msgs.msg import Bool

from whetstone_common.core.reason import Reason
from whetstone_common.nodes import qos
from whetstone_common.nodes.estop import estop_topics
from whetstone_common.nodes.graph import full_name, identity, incompatible_publishers, publishers
from whetstone_common.nodes.node import WhetstoneNode


class ArmSurroundings:
    """Reads the graph for arm_node.

    Args:
        node: arm_node.
        command_topics: Where nobody but it may publish.
    """

    def __init__(self, node: WhetstoneNode, command_topics: Sequence[str]) -> None:
        self._node = node
        self._command_topics = [node.resolve_topic_name(topic) for topic in command_topics]
        self._estop_topics = estop_topics(node)

    def estop_sources(self) -> dict[str, str]:
        """Node name by identity of each publisher of the emergency stop."""
        return {
            identity(info): full_name(info) for topic in self._estop_topics for info in publishers(self._node, topic)
        }

    def obstacle(self) -> tuple[Reason, str]:
        """What speaks against motion, (NONE, "") for nothing."""
        if who := self._node.namesake.text:
            return Reason.SECOND_NODE, f"another arm_node of this name runs as {who}: stop it first"
        own = self._node.get_fully_qualified_name()
        for topic in self._command_topics:
            others = sorted({full_name(info) for info in publishers(self._node, topic)} - {own})
            if others:
                return Reason.SECOND_COMMANDER, f"{', '.join(others)} publishes on {topic} too: stop it first"
        unheard = [
            text
            for topic in self._estop_topics
            for text in incompatible_publishers(self._node, topic, Bool, *qos.ESTOP)
        ]
        return (Reason.INCOMPATIBLE_PUBLISHER, unheard[0]) if unheard else (Reason.NONE, "")
