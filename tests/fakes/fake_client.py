# SPDX-License-Identifier: Apache-2.0
"""Sends one goal to episode_node and waits for its result, as any action client does."""

from __future__ import annotations

from rclpy.action import ActionClient
from vla_interfaces.action import RunEpisodes

from fakes.base import FakeNode, run


class FakeClient(FakeNode):
    """Parameters: `episodes`, `max_steps` of the goal."""

    def __init__(self) -> None:
        """Wait for the server."""
        super().__init__("fake_client", {"episodes": 1, "max_steps": 400})
        self._client = ActionClient(self, RunEpisodes, "run_episodes")
        self._is_sent = False
        self.every(0.2, self._send_once)

    def _send_once(self) -> None:
        if self._is_sent or not self._client.server_is_ready():
            return
        self._is_sent = True
        goal = RunEpisodes.Goal(episodes=self.told["episodes"], max_steps=self.told["max_steps"])
        self._client.send_goal_async(goal)


if __name__ == "__main__":
    run(FakeClient)
