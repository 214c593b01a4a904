# SPDX-License-Identifier: Apache-2.0
"""Tells the recorder of transitions up to where they are in the replay."""

from __future__ import annotations

from vla_interfaces.msg import TransitionAck

from experience.core.ledger import ReceivedSequence
from whetstone_common.nodes import qos
from whetstone_common.nodes.robot_view import Side

_PERIOD_S = 1.0


class ReceiptPublisher:
    """Acknowledges what is new at once, and the same again once a second.

    Args:
        side: The node, or its view of the recorder's robot.
    """

    def __init__(self, side: Side) -> None:
        self._side = side
        self._publisher = side.create_publisher(TransitionAck, "transition_ack", qos.RECORD)
        self._through, self._published_s = 0, 0.0

    def turn(self, receipts: ReceivedSequence, now_s: float) -> None:
        """Acknowledge, when it is time."""
        is_new = receipts.through != self._through
        if not receipts.spool or not (is_new or now_s - self._published_s >= _PERIOD_S):
            return
        self._through, self._published_s = receipts.through, now_s
        self._publisher.publish(
            TransitionAck(
                run=self._side.param("run"), spool=receipts.spool, learner=self._side.get_fully_qualified_name(),
                learner_epoch=self._side.epoch_ns, through=receipts.through,
            )
        )  # fmt: skip
