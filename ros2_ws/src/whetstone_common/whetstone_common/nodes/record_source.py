# SPDX-License-Identifier: Apache-2.0
"""A node whose records are stored says hello to the recorder until it is heard."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vla_interfaces.msg import RecorderSources

from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode


class RecordSource:
    """Answers a recorder that does not name this process yet.

    A publisher sees a subscription in the graph before the connection stands, and what it sends in between is lost
    without a word. So the recorder says whom it has heard, and who is not among them speaks again.
    """

    def __init__(self, node: WhetstoneNode, hellos: Mapping[str, Callable[[], None]]) -> None:
        """Listen to the recorder.

        Args:
            node: That publishes the records.
            hellos: Publishes a hello, by topic.
        """
        self._node, self._hellos = node, hellos
        node.create_subscription(RecorderSources, "recorder_sources", self._on_heard, qos.LATCHED)

    def _on_heard(self, msg: RecorderSources) -> None:
        if not self._node.active:
            return
        heard = set(zip(msg.topics, msg.source_epochs, strict=False))
        for topic, say_hello in self._hellos.items():
            if (topic, self._node.epoch_ns) not in heard:
                say_hello()
