# SPDX-License-Identifier: Apache-2.0
"""A /clock that stops, jumps and runs fast or slow when told."""

from __future__ import annotations

import time

from rosgraph_msgs.msg import Clock

from fakes.base import FakeNode, run
from whetstone_common.nodes import qos


class FakeClock(FakeNode):
    """Publishes /clock at 100 Hz.

    Parameters: `rate` simulated seconds per second (0 stops), `jump_s` added once when told.
    """

    def __init__(self) -> None:
        """Start at the system's time, so that nothing is before the epoch."""
        super().__init__("fake_clock", {"rate": 1.0, "jump_s": 0.0})
        self._now_s = time.time()
        self._last_s = time.monotonic()
        self._publisher = self.create_publisher(Clock, "/clock", qos.CLOCK)
        self.every(0.01, self._tick)

    def on_told(self, names: set[str]) -> None:
        """A jump happens once."""
        if "jump_s" in names:
            self._now_s += self.told["jump_s"]

    def _tick(self) -> None:
        steady_s = time.monotonic()
        self._now_s += (steady_s - self._last_s) * self.told["rate"]
        self._last_s = steady_s
        msg = Clock()
        msg.clock.sec, msg.clock.nanosec = int(self._now_s), int((self._now_s % 1.0) * 1e9)
        self._publisher.publish(msg)


if __name__ == "__main__":
    run(FakeClock)
