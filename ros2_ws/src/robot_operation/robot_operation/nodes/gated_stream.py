# SPDX-License-Identifier: Apache-2.0
"""Forwards the messages of a scripted operator as the lockstep gate lets them through."""

from __future__ import annotations

import time
from collections.abc import Callable

from vla_interfaces.msg import Decision, Request, Takeover

from robot_operation.core.lockstep_gate import LockstepGate
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_stamp
from whetstone_common.nodes.node import WhetstoneNode

# How late a time-out may be noticed.
_WATCH_S = 0.05


class GatedStream:
    """Follows query-only requests and their answers, and forwards each message as soon as it may go."""

    def __init__(self, node: WhetstoneNode, forward: Callable[[Takeover], None]) -> None:
        """Subscribe, unless the time-out is 0; `forward` is called with each message that goes out."""
        self._node, self._forward = node, forward
        timeout_s = node.param("scripted_query_timeout_s")
        self._gate: LockstepGate[Takeover] = LockstepGate(timeout_s)
        if timeout_s > 0.0:
            node.create_subscription(Request, "request", self._on_request, qos.RING)
            node.create_subscription(Decision, "decision", self._on_decision, qos.RECORD)
            node.create_steady_timer(_WATCH_S, self._forward_due)

    def put(self, msg: Takeover) -> None:
        """Take the newest message."""
        self._gate.put(msg)
        self._forward_due()

    def release(self) -> None:
        """Drop what is held back."""
        self._gate.release()

    def _on_request(self, msg: Request) -> None:
        if msg.kind == Request.QUERY_ONLY:
            self._gate.on_query(to_stamp(msg.stamp), time.monotonic())
            self._node.counters["queries_awaited"] = self._gate.queries

    def _on_decision(self, msg: Decision) -> None:
        if msg.request_kind == Request.QUERY_ONLY:
            self._gate.on_answer(to_stamp(msg.stamp))
            self._forward_due()

    def _forward_due(self) -> None:
        msg = self._gate.due(time.monotonic())
        self._node.counters["queries_timed_out"] = self._gate.timed_out
        if msg is not None:
            self._forward(msg)
