# SPDX-License-Identifier: Apache-2.0
"""One robot that feeds a learner: what it sends is taken in once, and it hears up to where."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from vla_interfaces.msg import PolicyContract, Transition

from experience.nodes import convert
from rl_learner.core.worker import Worker
from rl_learner.nodes.catch_up import CatchUp
from rl_learner.nodes.receipt_publisher import ReceiptPublisher
from whetstone_common.core.contract import Contract, ContractBinding
from whetstone_common.core.node_status import Status
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_contract
from whetstone_common.nodes.robot_view import Side

Workers: TypeAlias = Callable[[], Worker | None]
"""Gives who takes transitions in, once there is one."""


class RobotFeed:
    """Contract and transitions of a robot in; acknowledgements and its state out.

    Args:
        side: The node, or its view of this robot.
        robot: Name in the run; empty for the only one.
        worker: Who takes transitions in.
        begin: Begins a run under a contract.

    Attributes:
        turn: Acknowledge, and fetch what is missing.
    """

    def __init__(self, side: Side, robot: str, worker: Workers, begin: Callable[[Contract], None]) -> None:
        self._side, self._robot, self._worker, self._begin = side, robot, worker, begin
        self._contracts, self._mismatch = ContractBinding(), ""
        self._catch_up = CatchUp(side, robot, worker)
        self._receipts = ReceiptPublisher(side)
        self.turn: Callable[[], None] = side.guarded(self._turn, listed=False)
        side.create_subscription(PolicyContract, "policy_contract", self.on_contract, qos.LATCHED)
        side.create_subscription(Transition, "transition", self.on_transition, qos.RECORD)

    def on_contract(self, msg: PolicyContract) -> None:
        """Bind to the first contract; a run that goes on is bound already."""
        try:
            contract = to_contract(msg)
            differences = self._contracts.bind(contract)
        except ValueError as error:
            self._mismatch = str(error)
            return
        if self._worker() is None and not differences:
            self._begin(contract)
        worker = self._worker()
        bound = worker.session.intake.contract_hash if worker else contract.hash()
        if not differences and contract.hash() != bound:
            differences = [f"contract {contract.hash()[:12]}, the run's is {bound[:12]}"]
        self._mismatch = "; ".join(differences)

    def on_transition(self, msg: Transition) -> None:
        """Hand it over."""
        worker, robot = self._worker(), self._robot
        if worker is None or self._side.param("freeze"):
            return
        if msg.run != self._side.param("run"):
            self._side.counters["transitions_of_another_run"] += 1
            return
        taken = worker.put(lambda run: run.add(convert.to_transition(msg), msg.spool, msg.seq, robot), robot)
        self._side.counters["transitions_received" if taken else "transitions_put_off"] += 1

    def _turn(self) -> None:
        worker, now_s = self._worker(), time.monotonic()
        if worker is None:
            return
        self._catch_up.turn(now_s)
        self._receipts.turn(worker.session.receipts.of(self._robot), now_s)

    # ---- status ------------------------------------------------------------------------------------------------------

    def problem(self) -> tuple[Reason, str]:
        """Why nothing of this robot is taken in; NONE when it is."""
        if self._mismatch:
            return Reason.CONTRACT_MISMATCH, self._mismatch
        worker = self._worker()
        text = (worker.inboxes[self._robot].problem if worker else "") or self._catch_up.problem
        return (Reason.BAD_MESSAGE, text) if text else (Reason.NONE, "")

    def show(self, status: Status) -> None:
        """Set the counters of the robot, and the state that it is shown, when the run's is that."""
        self._count()
        if self._side.status[0] is State.ERROR:
            return
        reason, text = self.problem()
        is_own = status[0] is State.READY and reason is not Reason.NONE
        self._side.set_state(*((State.HOLDING, reason, text) if is_own else status))

    def _count(self) -> None:
        if (worker := self._worker()) is None:
            return
        receipts = worker.session.receipts.of(self._robot)
        self._side.counters["transitions_repeated"] = receipts.duplicates
        self._side.counters["transitions_ahead"] = receipts.gaps
        self._side.counters["through"] = receipts.through
