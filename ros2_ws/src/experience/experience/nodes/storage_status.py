# SPDX-License-Identifier: Apache-2.0
"""Publishes what a node has stored: on each change, and once a second."""

from __future__ import annotations

from vla_interfaces.msg import StorageStatus

from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode

_PERIOD_S = 1.0


class StoragePublisher:
    """Publisher of vla_interfaces/StorageStatus.

    Args:
        node: The node that stores.
        run: Name of its run, empty for recordings.
    """

    def __init__(self, node: WhetstoneNode, run: str = "") -> None:
        self._node, self._run = node, run
        self._publisher = node.create_publisher(StorageStatus, "storage_status", qos.LATCHED)
        self._published: dict[str, int] = {}
        self._published_s = float("-inf")

    def show(self, now_s: float, **figures: int) -> None:
        """Publish figures, by names of the message, when they have changed or a second has passed."""
        if figures == self._published and now_s - self._published_s < _PERIOD_S:
            return
        self._published, self._published_s = figures, now_s
        node = self._node.get_fully_qualified_name()
        self._publisher.publish(StorageStatus(node=node, node_epoch=self._node.epoch_ns, run=self._run, **figures))
