# SPDX-License-Identifier: Apache-2.0
"""Whether the client of a goal is still there: an action server is not told when its client dies."""

from __future__ import annotations

import time

from whetstone_common.nodes.graph import full_name, identity, subscribers
from whetstone_common.nodes.node import WhetstoneNode

# Discovery of a client's feedback subscription may take this long after its goal.
_DISCOVERY_S = 5.0


class GoalClient:
    """The endpoints that listened to the feedback when the goal began; without any of them nobody waits for it.

    Args:
        node: The action server's node.
        action: Name of the action.
        client: Full name of the client's node; empty when the goal does not say it.
    """

    def __init__(self, node: WhetstoneNode, action: str, client: str) -> None:
        self._node, self._client = node, client
        self._topic = f"{action}/_action/feedback"
        self._end_s = time.monotonic() + _DISCOVERY_S
        self._known: set[str] = set()

    def is_gone(self) -> bool:
        """Whether every endpoint of the client has left the graph."""
        present = {
            identity(info) for info in subscribers(self._node, self._topic) if self._client in ("", full_name(info))
        }
        if time.monotonic() < self._end_s:
            self._known |= present
        return bool(self._known) and self._known.isdisjoint(present)
