# SPDX-License-Identifier: Apache-2.0
"""Takes transitions, keeps them in a file, and acknowledges what the file holds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from vla_interfaces.msg import Transition, TransitionAck

from experience.core.ledger import ReceivedSequence, ReceiveResult
from fakes.base import FakeNode, run
from whetstone_common.nodes import qos

_ACK_PERIOD_S = 0.3


def read_store(path: Path) -> list[dict[str, Any]]:
    """What is stored, whole lines only."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


class FakeLearner(FakeNode):
    """One line per transition; started again, it goes on from what the file holds."""

    def __init__(self) -> None:
        super().__init__("fake_learner", {"store": "", "run": "default", "mute": False})
        self._path = Path(self.told["store"])
        known = read_store(self._path)
        whole = self._path.read_bytes().rpartition(b"\n") if known else (b"", b"", b"")
        self._path.write_bytes(whole[0] + whole[1])
        self._receipts = ReceivedSequence(*((known[-1]["spool"], known[-1]["seq"]) if known else (0, 0)))
        self._acks = self.create_publisher(TransitionAck, "transition_ack", qos.RECORD)
        self.create_subscription(Transition, "transition", self._on_transition, qos.RECORD)
        self.every(_ACK_PERIOD_S, self._acknowledge)

    def _on_transition(self, msg: Transition) -> None:
        if self._receipts.receive(msg.spool, msg.seq) is not ReceiveResult.NEW:
            return
        line = {
            "run": msg.run, "epoch": msg.epoch, "episode": msg.episode, "seq": msg.seq, "spool": msg.spool,
            "step": msg.episode_step, "steps": msg.steps,
        }  # fmt: skip
        with self._path.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _acknowledge(self) -> None:
        if self.told["mute"] or not self._receipts.spool:
            return
        self._acks.publish(
            TransitionAck(
                run=self.told["run"],
                spool=self._receipts.spool,
                learner=self.get_fully_qualified_name(),
                learner_epoch=self.epoch_ns,
                through=self._receipts.through,
            )
        )


if __name__ == "__main__":
    run(FakeLearner)
