# SPDX-License-Identifier: Apache-2.0
"""Publishes from which processes the recorder of transitions receives: an episode begins when all are among them."""

from __future__ import annotations

from collections import OrderedDict

from vla_interfaces.msg import RecorderSources

from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode

NO_EPOCH = 0  # of a contract, which is the same whoever publishes it
TOPICS = ("decision", "executed", "reward", "episode")
_MOST_SOURCES = 64
# Until something came on every topic, sources answer to each repetition.
_FIRST_PERIOD_S, _PERIOD_S = 0.2, 0.5


class KnownSources:
    """Sources that a record came from, published when they change.

    Args:
        node: The recorder.
        run: Its run.
    """

    def __init__(self, node: WhetstoneNode, run: str) -> None:
        self._node, self._run = node, run
        self._heard: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._publisher = node.create_publisher(RecorderSources, "recorder_sources", qos.LATCHED)
        self._published_s = float("-inf")

    def note(self, topic: str, epoch: int) -> None:
        """A record of a process has come."""
        if (topic, epoch) in self._heard:
            return
        self._heard[topic, epoch] = None
        if len(self._heard) > _MOST_SOURCES:
            self._heard.popitem(last=False)
        self._published_s = float("-inf")

    def turn(self, now_s: float) -> None:
        """Publish when there is news, or it is time."""
        is_whole = {topic for topic, _epoch in self._heard} >= set(TOPICS)
        if now_s - self._published_s < (_PERIOD_S if is_whole else _FIRST_PERIOD_S):
            return
        self._published_s = now_s
        topics, epochs = [topic for topic, _epoch in self._heard], [epoch for _topic, epoch in self._heard]
        self._publisher.publish(
            RecorderSources(run=self._run, recorder_epoch=self._node.epoch_ns, topics=topics, source_epochs=epochs)
        )
