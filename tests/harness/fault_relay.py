# SPDX-License-Identifier: Apache-2.0
"""A node between topic X_in and X that harms what passes, by a seeded plan.

The sender is remapped to `<topic>_in`; nobody else notices. Parameters: `topic`, `type` ("package/msg/Name"), `faults`
(JSON, see harness.schedule), `seed`, `latched`. The plan may be changed while it runs; counting starts again then.
"""

from __future__ import annotations

import heapq
import importlib
import itertools
import time
from typing import Any

from fakes.base import FakeNode, run
from harness.harm import apply
from harness.schedule import Schedule, parse_faults
from whetstone_common.nodes import qos

_FLUSH_S = 0.002


def message_type(name: str) -> Any:
    """Class of "package/msg/Name"."""
    package, kind, type_name = name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), type_name)


class FaultRelay(FakeNode):
    """Passes messages on, harmed."""

    def __init__(self) -> None:
        """Subscribe to `<topic>_in`, publish `<topic>`."""
        defaults = {"topic": "", "type": "", "faults": "[]", "seed": 0, "latched": False}
        super().__init__("fault_relay", defaults)
        self._number = 0
        self._last: Any = None
        self._kept: Any = None
        self._queue: list[tuple[float, int, Any]] = []
        self._order = itertools.count()
        self._plan = Schedule(parse_faults(self.told["faults"]), self.told["seed"])
        kind, topic = message_type(self.told["type"]), self.told["topic"]
        profile = qos.LATCHED if self.told["latched"] else qos.SENSOR_OUT
        self._publisher = self.create_publisher(kind, topic, profile)
        self.create_subscription(kind, f"{topic}_in", self._on_message, profile)
        self._due = self.when_asked(_FLUSH_S, self._flush)

    def on_told(self, names: set[str]) -> None:
        """A new plan starts counting at zero."""
        if names & {"faults", "seed"}:
            self._plan = Schedule(parse_faults(self.told["faults"]), self.told["seed"])
            self._number = 0

    def _on_message(self, message: Any) -> None:
        action = self._plan.action(self._number)
        self._number += 1
        harmed = apply(action, message, self._last)
        if not action.freeze:
            self._last = message
        now_s = time.monotonic()
        if action.swap and self._kept is None:
            self._kept = harmed
            return
        for delay_s in action.emit_after_s:
            self._send(now_s + delay_s, delay_s, harmed)
        if self._kept is not None:
            self._send(now_s, 0.0, self._kept)
            self._kept = None

    def _send(self, at_s: float, delay_s: float, message: Any) -> None:
        if delay_s == 0.0:
            self._publisher.publish(message)
        else:
            heapq.heappush(self._queue, (at_s, next(self._order), message))
            self._due.reset()

    def _flush(self) -> bool:
        while self._queue and self._queue[0][0] <= time.monotonic():
            self._publisher.publish(heapq.heappop(self._queue)[2])
        return bool(self._queue)


if __name__ == "__main__":
    run(FaultRelay)
