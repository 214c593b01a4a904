# SPDX-License-Identifier: Apache-2.0
"""What the nodes of the graph have said of themselves: state, process, storage, and when they spoke last."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from vla_interfaces.msg import NodeStatus, StorageStatus

from whetstone_cli.cli.errors import UserError
from whetstone_common.core.reason import Reason, State, sentence

_TROUBLED = {State.HOLDING, State.ERROR}
_WORKING = {State.READY, State.RUNNING, State.HOLDING, State.STOPPED}
# A node that works speaks twice a second; on a crowded machine less often.
SILENT_S = 6.0


class NodeStates:
    """The newest status of each node, by its name without namespace.

    Attributes:
        statuses: Of nodes that have spoken.
    """

    def __init__(self) -> None:
        """Nobody has spoken."""
        self.statuses: dict[str, NodeStatus] = {}
        self._heard_s: dict[str, float] = {}
        self._storage: dict[str, StorageStatus] = {}

    def on_status(self, msg: NodeStatus) -> None:
        """A node says its state."""
        name = msg.node.rsplit("/", 1)[-1]
        self.statuses[name], self._heard_s[name] = msg, time.monotonic()

    def on_storage(self, msg: StorageStatus) -> None:
        """A node says what it has stored."""
        self._storage[msg.node.rsplit("/", 1)[-1]] = msg

    # ---- of one node -----------------------------------------------------------------------------------------------

    def works(self, name: str) -> bool:
        """Whether a node can do its work, or will again by itself.

        Raises:
            UserError: It is in error, and will not.
        """
        status = self.statuses.get(name)
        if status is not None and status.state == State.ERROR:
            raise UserError(self.text_of(name))
        return status is not None and status.state in _WORKING

    def text_of(self, name: str) -> str:
        """State of a node in words."""
        status = self.statuses.get(name)
        if status is None:
            return f"{name} has not been heard of"
        return f"{name} is {sentence(State(status.state), Reason(status.reason), status.detail)}"

    def silence_s(self, name: str) -> float:
        """Seconds since a node's last word; infinite when there was none."""
        return time.monotonic() - self._heard_s.get(name, -math.inf)

    def silence_text(self, name: str) -> str:
        """That a node has said nothing, and for how long."""
        duration_s = self.silence_s(name)
        duration = f"{duration_s:.0f} s" if math.isfinite(duration_s) else "as long as we listen"
        return f"{name} has said nothing for {duration}"

    def epoch_of(self, name: str) -> int:
        """Which process of a node spoke last, 0 when none has."""
        status = self.statuses.get(name)
        return int(status.node_epoch) if status is not None else 0

    def storage(self, name: str) -> StorageStatus:
        """What a node has stored; all figures are 0 before it has published any."""
        return self._storage.get(name, StorageStatus())

    # ---- of several ------------------------------------------------------------------------------------------------

    def trouble(self) -> str:
        """Which nodes hold or have failed, and why; empty while none does."""
        return ", ".join(self.text_of(name) for name, status in self.statuses.items() if status.state in _TROUBLED)

    def failed(self, names: Sequence[str]) -> str:
        """Which of the nodes is in error, and why; empty when none is. It will not recover by itself."""
        for name in names:
            status = self.statuses.get(name)
            if status is not None and status.state == State.ERROR:
                return self.text_of(name)
        return ""

    def not_ready(self, names: Sequence[str]) -> str:
        """Which of the nodes is not READY, in what state and why; empty when all are."""
        for name in names:
            status = self.statuses.get(name)
            if self.silence_s(name) > SILENT_S:
                return self.silence_text(name)
            # A message that was refused lies behind; what comes next is kept.
            refused_one = status is not None and (status.state, status.reason) == (State.HOLDING, Reason.BAD_MESSAGE)
            if status is None or not (status.state == State.READY or refused_one):
                return self.text_of(name)
        return ""
