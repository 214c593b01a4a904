# SPDX-License-Identifier: Apache-2.0
"""Sets of weights on their way to the robots: numbered, signed, sent in pieces, accepted or refused."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor
from vla_interfaces.msg import PolicyWeights, WeightsAck

from rl_learner.core.training_run import TrainingRun
from rl_learner.core.versions import VersionCounter
from rl_methods.common.weights import pack, split
from vla_policy.nodes.weights_wire import from_piece, read_key
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_view import Side

PIECE_PAUSE_S = 0.001  # a burst of pieces overflows the socket buffer of whoever listens


class WeightsPublisher:
    """Publishes the weights of one run.

    Args:
        node: Whose parameters, counters and clock are used.
        sides: The node, or its view of each robot that gets them.
        method: Name of the method.
        folder: Of the run; its version counter is in there.
    """

    def __init__(self, node: WhetstoneNode, sides: Sequence[Side], method: str, folder: Path) -> None:
        self._node, self._method = node, method
        self._versions = VersionCounter(folder / "version.json")
        self._key = read_key(node.param("weights_key_file"))
        self._parent = self._versions.last
        self._pause = threading.Event()
        self._receivers = {side: _Receiver(side) for side in sides}

    @property
    def newest(self) -> int:
        """Newest version of the run."""
        return self._versions.last

    def publish(self, session: TrainingRun, weights: Mapping[str, Tensor]) -> None:
        """All pieces of a set; its version is on the disk before anyone hears of it."""
        learner = session.learner
        version = self._versions.next()
        manifest, data = pack(
            weights, learner.architecture(), method=self._method, run=self._node.param("run"),
            step=learner.updates, version=version, parent=self._parent, contract_hash=session.intake.contract_hash,
            created_ns=self._node.get_clock().now().nanoseconds, key=self._key,
        )  # fmt: skip
        pieces = split(data)
        for number, piece in enumerate(pieces):
            msg = from_piece(manifest, number, len(pieces), piece)
            for receiver in self._receivers.values():
                receiver.publisher.publish(msg)
            self._pause.wait(PIECE_PAUSE_S)
        self._parent = version
        self._node.counters["weights_published"] += 1

    def listen(self) -> None:
        """Subscribe to what the robots say of the sets."""
        for receiver in self._receivers.values():
            receiver.listen()

    def accepted_by(self, side: Side) -> int:
        """Newest version that a robot has accepted; of the node of several, that all of them have who listen now."""
        if side in self._receivers:
            return self._receivers[side].accepted
        heard = [each.accepted for each in self._receivers.values() if each.publisher.get_subscription_count()]
        return min(heard, default=0)


class _Receiver:
    """The robot that a set is for.

    Attributes:
        side: The node, or its view of the robot.
        publisher: Of the pieces.
        accepted: Newest version that the robot has accepted.
    """

    def __init__(self, side: Side) -> None:
        self.side, self.accepted = side, 0
        self.publisher = side.create_publisher(PolicyWeights, "policy_weights", qos.WEIGHTS)

    def listen(self) -> None:
        """Subscribe to what the robot says of the sets."""
        self.side.create_subscription(WeightsAck, "weights_ack", self.on_weights_ack, qos.RECORD)

    def on_weights_ack(self, msg: WeightsAck) -> None:
        """Note what the robot says of a set."""
        if msg.run != self.side.param("run"):
            return
        self.side.counters["weights_accepted" if msg.accepted else "weights_refused"] += 1
        if msg.accepted:
            self.accepted = max(self.accepted, msg.version)
        else:
            self.side.get_logger().warning(f"version {msg.version} was refused: {msg.reason}")
