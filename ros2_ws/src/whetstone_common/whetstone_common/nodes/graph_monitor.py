# SPDX-License-Identifier: Apache-2.0
"""What is wrong around a node: a second one of its name, no clock, publishers that it cannot hear."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rclpy.qos import QoSProfile

from whetstone_common.core.clock import NO_CLOCK
from whetstone_common.core.reason import Reason
from whetstone_common.nodes.graph import incompatible_publishers, publishers, rival_publishers
from whetstone_common.nodes.namesake import Namesake

_CLOCK_TOPIC = "/clock"


class GraphMonitor:
    """Looks for problems of the graph that concern one node.

    Args:
        node: A `WhetstoneNode`.
        namesake: Of that node.
        counters: Of that node.
    """

    def __init__(self, node: Any, namesake: Namesake, counters: Counter[str]) -> None:
        self._node = node
        self._namesake = namesake
        self._counters = counters
        self._inputs: list[tuple[str, type, QoSProfile]] = []
        self._sole_inputs: list[str] = []

    def watch(self, topic: str, msg_type: type, profile: QoSProfile, *, sole: bool) -> None:
        """Look for publishers of a topic that cannot be heard, and with `sole` for a second publisher."""
        self._inputs.append((topic, msg_type, profile))
        if sole:
            self._sole_inputs.append(topic)

    def forget(self) -> None:
        """Watch no input any longer."""
        self._inputs, self._sole_inputs = [], []

    def problem(self) -> tuple[Reason, str]:
        """Reason and text of the gravest problem; `Reason.NONE` for none."""
        if who := self._namesake.text:
            name = self._node.get_fully_qualified_name()
            return Reason.SECOND_NODE, f"two of them: {name} runs also as {who}; stop one"
        if self._node.uses_sim_time and not publishers(self._node, _CLOCK_TOPIC):
            return Reason.NO_CLOCK, NO_CLOCK
        unheard = [text for each in self._inputs for text in incompatible_publishers(self._node, *each)]
        if unheard:
            self._raise_count("incompatible_publishers", len(unheard))
            return Reason.INCOMPATIBLE_PUBLISHER, unheard[0]
        if rivals := [text for topic in self._sole_inputs if (text := rival_publishers(self._node, topic))]:
            self._raise_count("second_source", len(rivals))
            return Reason.SECOND_SOURCE, rivals[0]
        return Reason.NONE, ""

    def _raise_count(self, name: str, count: int) -> None:
        self._counters[name] = max(count, self._counters[name])
