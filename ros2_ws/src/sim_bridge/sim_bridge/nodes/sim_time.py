# SPDX-License-Identifier: Apache-2.0
"""The two clocks of a simulation in real time: the steady one that paces it, and the one of its stamps."""

from __future__ import annotations

from sim_bridge.core.session import SimSession
from whetstone_common.nodes.convert import to_ns
from whetstone_common.nodes.node import WhetstoneNode


class SimTime:
    """Reads both clocks.

    Args:
        node: Whose clocks are read; its parameter `publish_clock` says whether stamps are simulated time.
        session: Knows simulated time.

    Attributes:
        is_simulated: Whether stamps are simulated time.
    """

    def __init__(self, node: WhetstoneNode, session: SimSession) -> None:
        self._node, self._session = node, session
        self.is_simulated: bool = node.param("publish_clock")

    def now_ns(self) -> int:
        """Steady clock."""
        return int(self._node.steady_clock.now().nanoseconds)

    def now_s(self) -> float:
        """Steady clock."""
        return float(self.now_ns()) * 1e-9

    def stamp_ns(self) -> int:
        """Stamp of what is measured now; under the lock of the session."""
        return self._session.clock_ns if self.is_simulated else to_ns(self._node.get_clock().now().to_msg())
