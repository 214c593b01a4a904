# SPDX-License-Identifier: Apache-2.0
"""Learns from transitions in a thread of its own, and publishes weights; callbacks only hand things over."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from vla_interfaces.srv import EvaluatePolicy

from experience.nodes.runs import check_run
from rl_learner.core.receipts import SOLE
from rl_learner.core.training_run import TrainingRun
from rl_learner.core.update_failures import StopReason
from rl_learner.core.worker import Worker
from rl_learner.nodes.report import RunReport
from rl_learner.nodes.robot_feed import RobotFeed
from rl_learner.nodes.run_setup import RunSetup
from rl_learner.nodes.weights_publisher import WeightsPublisher
from rl_methods.devices import check_device_name
from whetstone_common.core.contract import Contract
from whetstone_common.core.node_status import Status
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes.main import run
from whetstone_common.nodes.robot_view import Side
from whetstone_common.nodes.several_robots import SeveralRobotsNode

_PERIOD_S = 0.1
_SHOW_PERIOD_S = 1.0
_CLOSE_TIMEOUT_S = 1.4  # a checkpoint that takes longer is left: the one before is whole, and the spool has the rest
_SWITCH_S = 5e-4  # a callback waits this long at most for the thread that learns
_HALTS = {StopReason.DIVERGED: Reason.NOT_FINITE, StopReason.OUT_OF_MEMORY: Reason.MODEL_FAILURE}


class LearnerNode(SeveralRobotsNode):
    """Transitions of one robot or several in; weights, acknowledgements and the state of the run out."""

    def __init__(self, **kwargs: Any) -> None:
        """See `SeveralRobotsNode`."""
        self._worker: Worker | None = None
        self._feeds: dict[str, RobotFeed] = {}
        self._shown_s = 0.0
        super().__init__("learner_node", package="rl_learner", sole_output="policy_weights", **kwargs)

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Refuse a run that is no folder's name, and a device that is none.

        Raises:
            ParameterError: It is not; or of the robots.
        """
        super().check_parameters(values)
        check_run(values["run"])
        try:
            check_device_name(values["device"])
        except ValueError as error:
            raise ParameterError(str(error)) from error

    def on_setup(self) -> None:
        """Read the method, go on from the newest checkpoint, and connect."""
        torch.set_num_threads(self.param("threads"))
        # Names that stay the same however they were written, as they are in the checkpoints.
        sides: dict[str, Side] = {each.get_namespace().strip("/"): each for each in self._views} or {SOLE: self}
        self._setup = RunSetup(self, list(sides))
        method = self._setup.method.method
        self._weights = WeightsPublisher(self, self.sides, method, self._setup.folder)
        self._report = RunReport(self, self.sides, method, self._weights)
        if (resumed := self._setup.resumed()) is not None:
            self._begin(resumed)
        begin = self.guarded(self.begin_run, listed=False)
        self._feeds = {name: RobotFeed(side, name, self._worker_or_none, begin) for name, side in sides.items()}
        self._weights.listen()
        self.create_service(EvaluatePolicy, "~/evaluate_policy", self.on_evaluate_policy)
        self.create_steady_timer(_PERIOD_S, self.turn)

    def on_start(self) -> None:
        """Say how things are."""
        self._show()

    def on_teardown(self) -> None:
        """Save and end the thread; forget the contracts."""
        if self._worker is not None and not self._worker.stop(_CLOSE_TIMEOUT_S):
            self.get_logger().error("the last checkpoint was not written in time")
        self._worker, self._feeds = None, {}

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

    def begin_run(self, contract: Contract) -> None:
        """A new run, under the contract that was heard first."""
        self._begin(self._setup.new(contract))

    def _worker_or_none(self) -> Worker | None:
        return self._worker

    # ---- callbacks -------------------------------------------------------------------------------------------------

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
        """Acknowledge, fetch what is missing, publish the state of the run, and once a second the node's own."""
        if not self.active:
            return
        for feed in self._feeds.values() if not self.param("freeze") else ():
            feed.turn()
        self._report.publish(self._worker)
        if (now_s := time.monotonic()) - self._shown_s >= _SHOW_PERIOD_S:
            self._shown_s = now_s
            self._show()

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
        state, reason, detail = self._state(worker)
        if self._views:
            # One robot that is left out does not stop the others.
            problems = [f"{name}: {feed.problem()[1]}" for name, feed in self._feeds.items() if feed.problem()[1]]
            self.set_state(state, reason, "; ".join([detail, *problems] if detail else problems))
        for feed in self._feeds.values():
            feed.show((state, reason, detail))

    def _state(self, worker: Worker | None) -> Status:
        if worker is None:
            return State.READY, Reason.NONE, "waiting for the policy's contract"
        session = worker.session
        if session.failures.halt is not None:
            return State.HOLDING, _HALTS[session.failures.halt], f"{session.failures.halt.value}: {session.problem}"
        if worker.checkpoints.problem:
            return State.HOLDING, Reason.DISK_FULL, worker.checkpoints.problem
        return State.READY, Reason.NONE, "frozen" if self.param("freeze") else session.guard.text or session.status


def main() -> None:
    """Run the node."""
    sys.setswitchinterval(_SWITCH_S)
    run(LearnerNode)
