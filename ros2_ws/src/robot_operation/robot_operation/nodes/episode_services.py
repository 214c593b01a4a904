# SPDX-License-Identifier: Apache-2.0
"""Services of the arm and of the simulator that an episode needs."""

from __future__ import annotations

from vla_interfaces.srv import Arm, Pause, Reset, Resume, SimReset

from whetstone_common.nodes.node import WhetstoneNode


class EpisodeServices:
    """Clients of one node.

    Attributes:
        arm: Enables the arm.
        reset: Resets an arm that has stopped.
        resume: Starts an episode.
        pause: Holds the arm.
        sim_reset: Resets the simulator, None on a real robot.
    """

    def __init__(self, node: WhetstoneNode) -> None:
        """Create the clients; the names follow from the node's parameters."""
        self._node, arm = node, node.param("arm_name")
        self.arm = node.create_client(Arm, f"{arm}/arm")
        self.reset = node.create_client(Reset, f"{arm}/reset")
        self.resume = node.create_client(Resume, f"{arm}/resume")
        self.pause = node.create_client(Pause, f"{arm}/pause")
        self.sim_reset = node.create_client(SimReset, "sim/reset") if node.param("sim_reset") else None

    def close(self) -> None:
        """Destroy the clients."""
        for client in (self.arm, self.reset, self.resume, self.pause, self.sim_reset):
            if client is not None:
                self._node.destroy_client(client)
