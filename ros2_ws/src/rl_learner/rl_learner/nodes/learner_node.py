# SPDX-License-Identifier: Apache-2.0
"""Learns from transitions in a thread of its own, and publishes weights; callbacks only hand things over."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from vla_interfaces.msg import PolicyContract, Transition
from vla_interfaces.srv import EvaluatePolicy

from experience.nodes import convert
from experience.nodes.runs import check_run
from rl_learner.core.training_run import TrainingRun
from rl_learner.core.update_failures import StopReason
from rl_learner.core.worker import Worker
from rl_learner.nodes.catch_up import CatchUp
from rl_learner.nodes.receipt_publisher import ReceiptPublisher
from rl_learner.nodes.report import RunReport
from rl_learner.nodes.run_setup import RunSetup
from rl_learner.nodes.weights_publisher import WeightsPublisher
from rl_methods.devices import check_device_name
from whetstone_common.core.contract import ContractBinding
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_contract
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode

_PERIOD_S = 0.1
_SHOW_PERIOD_S = 1.0
_CLOSE_TIMEOUT_S = 1.4  # a checkpoint that takes longer is left: the one before is whole, and the spool has the rest
_SWITCH_S = 5e-4  # a callback waits this long at most for the thread that learns
_HALTS = {StopReason.DIVERGED: Reason.NOT_FINITE, StopReason.OUT_OF_MEMORY: Reason.MODEL_FAILURE}


class LearnerNode(WhetstoneNode):
    """Transitions in; weights, acknowledgements and the state of the run out."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        self._worker: Worker | None = None
        self._contracts = ContractBinding()
        super().__init__("learner_node", package="rl_learner", **kwargs)

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Refuse a run that is no folder's name, and a device that is none.

        Raises:
            ParameterError: It is not.
        """
        check_run(values["run"])
        try:
            check_device_name(values["device"])
        except ValueError as error:
            raise ParameterError(str(error)) from error

    def on_setup(self) -> None:
        """Read the method, go on from the newest checkpoint, and connect."""
        torch.set_num_threads(self.param("threads"))
        self._setup = RunSetup(self)
        method = self._setup.method.method
        self._weights = WeightsPublisher(self, method, self._setup.folder)
        self._receipts = ReceiptPublisher(self)
        self._report = RunReport(self, method, self._weights)
        self._mismatch = ""
        self._catch_up = CatchUp(self, self.param("run"), self._worker_or_none)
        if (resumed := self._setup.resumed()) is not None:
            self._begin(resumed)
        self.create_subscription(PolicyContract, "policy_contract", self.on_contract, qos.LATCHED)
        self.create_subscription(Transition, "transition", self.on_transition, qos.RECORD)
        self._weights.listen()
        self.create_service(EvaluatePolicy, "~/evaluate_policy", self.on_evaluate_policy)
        self.create_steady_timer(_PERIOD_S, self.turn)
        self.create_steady_timer(_PERIOD_S, self.report)
        self.create_steady_timer(_SHOW_PERIOD_S, self.show)

    def on_start(self) -> None:
        """Say how things are."""
        self._show()

    def on_teardown(self) -> None:
        """Save and end the thread; forget the contract."""
        if self._worker is not None and not self._worker.stop(_CLOSE_TIMEOUT_S):
            self.get_logger().error("the last checkpoint was not written in time")
        self._worker = None
        self._contracts.forget()

    def parameters_changed(self, names: set[str]) -> None:
        """Take over what may change while running."""
        if self._worker is not None:
            self._worker.session.limits, self._worker.config = self._setup.limits(), self._setup.worker_config()

    def _begin(self, session: TrainingRun) -> None:
        self._worker = Worker(
            session,
            self._setup.checkpoints,
            self._weights.publish,
            functools.partial(self.fail, "learner"),
            self._setup.worker_config(),
            time.monotonic,
            self._setup.board(session),
        )
        self._worker.start()

    def _worker_or_none(self) -> Worker | None:
        return self._worker

    # ---- callbacks -------------------------------------------------------------------------------------------------

    def on_contract(self, msg: PolicyContract) -> None:
        """Bind to the first contract; a run that goes on is bound already."""
        try:
            contract = to_contract(msg)
            differences = self._contracts.bind(contract)
        except ValueError as error:
            self._mismatch = str(error)
            return
        if self._worker is None and not differences:
            self._begin(self._setup.new(contract))
        bound = self._worker.session.intake.contract_hash if self._worker else contract.hash()
        if not differences and contract.hash() != bound:
            differences = [f"contract {contract.hash()[:12]}, the run's is {bound[:12]}"]
        self._mismatch = "; ".join(differences)

    def on_transition(self, msg: Transition) -> None:
        """Hand it over."""
        if self._worker is None or self.param("freeze"):
            return
        if msg.run != self.param("run"):
            self.counters["transitions_of_another_run"] += 1
            return
        taken = self._worker.put(lambda s: s.add(convert.to_transition(msg), msg.spool, msg.seq))
        self.counters["transitions_received" if taken else "transitions_put_off"] += 1

    def on_evaluate_policy(
        self, request: EvaluatePolicy.Request, response: EvaluatePolicy.Response
    ) -> EvaluatePolicy.Response:
        """A round of evaluation begins, or is over: see `PolicyGuard`."""
        worker = self._worker
        if worker is None or not worker.session.ready or self.param("freeze"):
            response.message = "there are no weights that could be evaluated"
            return response
        try:
            if request.phase == EvaluatePolicy.Request.BEGIN:
                worker.begin_evaluation()
            else:
                worker.end_evaluation(request.successes, request.episodes)
            response.success = True
        except ValueError as error:
            response.message = str(error)
        return response

    def turn(self) -> None:
        """Acknowledge, and fetch what is missing."""
        worker = self._worker
        if worker is None or not self.active or self.param("freeze"):
            return
        self._catch_up.turn(time.monotonic())
        self._receipts.turn(worker.session.receipts, time.monotonic())

    def show(self) -> None:
        """Set the node's own state and counters."""
        if self.active:
            self._show()

    def report(self) -> None:
        """Publish the state of the run."""
        if self.active:
            self._report.publish(self._worker)

    def diagnostic_values(self) -> Mapping[str, object]:
        """Counters, and the metrics of the last update."""
        return {**self.counters, **(self._worker.session.learning.metrics if self._worker else {})}

    # ---- status ------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        if self.status[0] is State.ERROR:
            return
        worker = self._worker
        if worker is not None:
            self._report.count(worker)
        self.set_state(*self._state(worker))

    def _state(self, worker: Worker | None) -> tuple[State, Reason, str]:
        if self._mismatch:
            return State.HOLDING, Reason.CONTRACT_MISMATCH, self._mismatch
        if worker is None:
            return State.READY, Reason.NONE, "waiting for the policy's contract"
        session = worker.session
        if session.failures.halt is not None:
            return State.HOLDING, _HALTS[session.failures.halt], f"{session.failures.halt.value}: {session.problem}"
        if worker.checkpoints.problem:
            return State.HOLDING, Reason.DISK_FULL, worker.checkpoints.problem
        problem = worker.inbox.problem or self._catch_up.problem
        if problem:
            return State.HOLDING, Reason.BAD_MESSAGE, problem
        return State.READY, Reason.NONE, "frozen" if self.param("freeze") else session.guard.text or session.status


def main() -> None:
    """Run the node."""
    sys.setswitchinterval(_SWITCH_S)
    run(LearnerNode)
