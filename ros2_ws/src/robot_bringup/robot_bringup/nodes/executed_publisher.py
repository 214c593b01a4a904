# SPDX-License-Identifier: Apache-2.0
"""Records of what was really commanded, for whoever stores them."""

from __future__ import annotations

from collections.abc import Callable

from vla_interfaces.msg import Executed
from vla_interfaces.msg import Stamp as StampMsg

from robot_bringup.core.outputs import ExecutedOut
from robot_bringup.nodes import convert
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.record_source import RecordSource


class ExecutedPublisher:
    """Publishes one record per policy step.

    Args:
        node: Publishes.
        episode: Number of the newest episode.
    """

    def __init__(self, node: WhetstoneNode, episode: Callable[[], int]) -> None:
        self._node, self._episode = node, episode
        self._publisher = node.create_publisher(Executed, "executed", qos.RECORD)
        self._source = RecordSource(node, {"executed": self._say_hello})

    def publish(self, done: ExecutedOut) -> None:
        """Publish a step that has ended."""
        self._publisher.publish(convert.from_executed(done))

    def _say_hello(self) -> None:
        """To the recorder of transitions, with the number of the newest episode: it books what it misses after that."""
        stamp = StampMsg(epoch=self._node.epoch_ns, sequence=self._episode())
        self._publisher.publish(Executed(stamp=stamp, actor=Executed.HOLD))
