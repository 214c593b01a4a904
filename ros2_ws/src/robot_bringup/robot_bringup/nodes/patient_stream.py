# SPDX-License-Identifier: Apache-2.0
"""Lets a scripted person's stream out, message by message, as patience has it."""

from __future__ import annotations

import time
from collections.abc import Callable

from vla_interfaces.msg import Decision, Request, Takeover

from robot_bringup.core.patience import Patience
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_stamp
from whetstone_common.nodes.node import WhetstoneNode

# How late the end of patience may be noticed.
_WATCH_S = 0.05


class PatientStream:
    """Hears what is looked at, and hands each message on as soon as it may go."""

    def __init__(self, node: WhetstoneNode, forward: Callable[[Takeover], None]) -> None:
        """Subscribe, where there is patience at all; `forward` is called with each message that goes out."""
        self._node, self._forward = node, forward
        most_s = node.param("scripted_patience_s")
        self._patience: Patience[Takeover] = Patience(most_s)
        if most_s > 0.0:
            node.create_subscription(Request, "request", self._on_request, qos.RING)
            node.create_subscription(Decision, "decision", self._on_decision, qos.RECORD)
            node.create_steady_timer(_WATCH_S, self._go_on)

    def want(self, msg: Takeover) -> None:
        """Take the person's newest message."""
        self._patience.want(msg)
        self._go_on()

    def let_go(self) -> None:
        """Drop what is held back."""
        self._patience.let_go()

    def _on_request(self, msg: Request) -> None:
        if msg.kind == Request.LOOK:
            self._patience.asked(to_stamp(msg.stamp), time.monotonic())
            self._node.counters["looks_awaited"] = self._patience.awaited

    def _on_decision(self, msg: Decision) -> None:
        if msg.request_kind == Request.LOOK:
            self._patience.answered(to_stamp(msg.stamp))
            self._go_on()

    def _go_on(self) -> None:
        msg = self._patience.due(time.monotonic())
        self._node.counters["looks_given_up"] = self._patience.given_up
        if msg is not None:
            self._forward(msg)
