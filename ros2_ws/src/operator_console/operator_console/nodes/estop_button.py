# SPDX-License-Identifier: Apache-2.0
"""The emergency stop of a console: every page may press it, and it is pressed for an operator who was lost."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from std_msgs.msg import Bool

from operator_console.core.control import LostOperator
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode


class EstopButton:
    """Presses and releases; what it said last outlives a clean-up of its node.

    Args:
        node: Publishes.

    Attributes:
        is_pressed: What it said last.
        lost: Who was lost and why, until it is released; empty for nobody.
    """

    def __init__(self, node: WhetstoneNode) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._publishers: Sequence[Any] = ()
        self.is_pressed = False
        self.lost = ""

    def connect(self, topics: Iterable[str]) -> None:
        """Create the publishers; the last topic is the one of this robot alone."""
        distinct = dict.fromkeys(self._node.resolve_topic_name(topic) for topic in topics)
        self._publishers = [self._node.create_publisher(Bool, topic, qos.ESTOP[0]) for topic in distinct]

    def press(self) -> None:
        """Stop every robot that listens."""
        self._press(self._publishers)

    def press_for(self, lost: LostOperator) -> None:
        """Stop this robot: its operator has gone."""
        self.lost = f"{lost.viewer}: {lost.why}"
        self._press(self._publishers[-1:])

    def _press(self, publishers: Sequence[Any]) -> None:
        with self._lock:
            self.is_pressed = True
            self._node.counters["estops"] += 1
        for publisher in publishers:
            publisher.publish(Bool(data=True))

    def release(self) -> None:
        """Release what this console has pressed; a robot stays stopped until it is reset."""
        with self._lock:
            self.is_pressed, self.lost = False, ""
        for publisher in self._publishers:
            publisher.publish(Bool(data=False))
