# SPDX-License-Identifier: Apache-2.0
"""Notices another process that runs a node of the same name: a second stack in the same domain."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
from typing import Any

from vla_interfaces.msg import NodeProcess

from whetstone_common.nodes import qos

_PERIOD_S = 1.0
_NS_PER_S = 1e9
# A namesake that has said nothing for this long is gone.
_SILENT_S = 3.5


def describe(msg: NodeProcess) -> str:
    """Host, process and start of a namesake, in words."""
    since = datetime.fromtimestamp(msg.node_epoch / _NS_PER_S, tz=UTC).astimezone()
    return f"process {msg.pid} on host {msg.host}, since {since:%Y-%m-%d %H:%M:%S}"


class Namesake:
    """Says which process runs a node, and hears of others that run one of the same name.

    Args:
        node: A `WhetstoneNode`.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._own = NodeProcess(host=socket.gethostname(), pid=os.getpid(), node_epoch=node.epoch_ns)
        self._heard: NodeProcess | None = None
        self._heard_s = float("-inf")
        self._quiet = True
        self._publisher = node.create_publisher(NodeProcess, "~/process", qos.LATCHED)
        node.create_subscription(NodeProcess, "~/process", self._on_process, qos.PROCESS)
        node.create_steady_timer(_PERIOD_S, self._on_timer)

    @property
    def text(self) -> str:
        """Who else runs a node of this name; empty when nobody does."""
        if self._heard is None or time.monotonic() - self._heard_s > _SILENT_S:
            return ""
        return describe(self._heard)

    def announce(self) -> None:
        """From now on others hear of this process; one that only looks whether it may start says nothing."""
        self._quiet = False
        self._publisher.publish(self._own)

    def _on_process(self, msg: NodeProcess) -> None:
        if (msg.host, msg.pid, msg.node_epoch) != (self._own.host, self._own.pid, self._own.node_epoch):
            self._heard, self._heard_s = msg, time.monotonic()
            if not self._quiet:
                self._node.on_namesake()

    def _on_timer(self) -> None:
        if not self._quiet:
            self._publisher.publish(self._own)
