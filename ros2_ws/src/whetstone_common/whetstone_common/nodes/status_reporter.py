# SPDX-License-Identifier: Apache-2.0
"""Publishes the status of a node: state, reason and counters, for our nodes and as diagnostics."""

from __future__ import annotations

import socket
import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from vla_interfaces.msg import NodeStatus

from whetstone_common.core.node_status import Status, with_graph_problem
from whetstone_common.core.reason import Reason, State, sentence
from whetstone_common.nodes import qos
from whetstone_common.nodes.diagnostics import diagnostics_of

_STATUS_PERIOD_S = 0.5
_DIAGNOSTICS_PERIOD_S = 1.0


class StatusReporter:
    """Status of one node.

    Attributes:
        status: State, reason and detail as they are shown.
        graph_problem: Reason and text of what the graph says of the node.
        is_muted: Nothing is published: it is not sure yet that this process may run the node.
    """

    def __init__(self, node: Any) -> None:
        """Publish from now on; before that `status` cannot be asked for.

        Args:
            node: A `WhetstoneNode`.
        """
        self._node = node
        self._lock = threading.RLock()  # a set-up and what ends it run in two threads
        self.status: Status = (State.UNCONFIGURED, Reason.NONE, "")
        self._own = self.status  # what the node itself says, without what the graph adds
        self.graph_problem: tuple[Reason, str] = (Reason.NONE, "")
        self.is_muted = False
        self.publisher = node.create_publisher(NodeStatus, "node_status", qos.LATCHED)
        node.create_steady_timer(_STATUS_PERIOD_S, self.publish_status)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        node.create_steady_timer(_DIAGNOSTICS_PERIOD_S, self.publish_diagnostics)

    def set_state(self, state: State, reason: Reason, detail: str, *, is_logged: bool) -> None:
        """Change what the node says of itself; published at once, and logged when it is news and `is_logged`."""
        with self._lock:
            # The last state stays, whatever a thread says that has not noticed the end yet.
            if self._own[0] is State.FINALIZED:
                return
            self._own = (state, reason, detail)
            self._show(is_logged=is_logged)

    def set_graph_problem(self, problem: tuple[Reason, str]) -> None:
        """Change what the graph says of the node."""
        with self._lock:
            self.graph_problem = problem
            self._show(is_logged=True)

    def _show(self, *, is_logged: bool) -> None:
        status = with_graph_problem(self._own, self.graph_problem)
        if status == self.status:
            return
        # The detail of a start says what is waited for; in other states it may hold a figure that changes all the time.
        is_news = self.status[:2] != status[:2] or status[0] is State.STARTING
        self.status = status
        if is_news and is_logged:
            self._node.get_logger().info(sentence(*status))
        self.publish_status()

    def publish_status(self) -> None:
        """Publish state, reason and counters."""
        if self.is_muted:
            return
        state, reason, detail = self.status
        counters = dict(self._node.counters)
        self.publisher.publish(
            NodeStatus(
                node=self._node.get_fully_qualified_name(),
                node_epoch=self._node.epoch_ns,
                state=int(state),
                reason=int(reason),
                detail=detail,
                counter_names=list(counters),
                counters=list(counters.values()),
                time=self._node.get_clock().now().to_msg(),
            )
        )

    def publish_diagnostics(self) -> None:
        """Publish state, reason and figures for the tools of ROS."""
        if self.is_muted:
            return
        name, stamp = self._node.get_fully_qualified_name(), self._node.get_clock().now().to_msg()
        values = self._node.diagnostic_values()
        self._diagnostics.publish(diagnostics_of(name, socket.gethostname(), self.status, values, stamp))
