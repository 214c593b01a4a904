# SPDX-License-Identifier: Apache-2.0
"""The instruction of an episode on its way to the policy: published, acknowledged, in use."""

from __future__ import annotations

from rclpy.duration import Duration
from std_msgs.msg import String

from robot_operation.core.health import Health
from whetstone_common.core.instruction import shown
from whetstone_common.nodes import graph, qos
from whetstone_common.nodes.node import WhetstoneNode

# Who shows the instruction to the policy.
_OBSERVER = "observation_node"


class EpisodeInstruction:
    """Publishes instructions, and compares what the policy is shown with what the episode says.

    Args:
        node: Whose publisher it is.
        health: Of the nodes that an episode needs.

    Attributes:
        in_use: What the policy is shown as instruction, None when nobody has said so.
    """

    def __init__(self, node: WhetstoneNode, health: Health) -> None:
        self._node, self._health = node, health
        self._publisher = node.create_publisher(String, "instruction", qos.LATCHED)
        self.in_use: str | None = None

    def publish(self, instruction: str) -> None:
        """Publish an instruction."""
        self._publisher.publish(String(data=instruction))

    def is_acknowledged(self, timeout_s: float) -> bool:
        """Whether all subscribers acknowledge the instruction in time; waits for them."""
        return bool(self._publisher.wait_for_all_acked(Duration(seconds=timeout_s)))

    def problem(self, instruction: str) -> str:
        """How the policy's instruction differs from that of the episode, empty when it does not."""
        if self.in_use == instruction or not self._health.watches(_OBSERVER):
            return ""
        report = self._health.report(_OBSERVER)
        state = f", it is {report.text}" if report and not self.in_use else ""
        speakers = ", ".join(sorted(graph.full_name(info) for info in graph.publishers(self._node, "instruction")))
        return (
            f"{_OBSERVER} uses the instruction {shown(self.in_use or '')} instead of "
            f"{shown(instruction)}{state}; publishers of the topic: {speakers}"
        )
