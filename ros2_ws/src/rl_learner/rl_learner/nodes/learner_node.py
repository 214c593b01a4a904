# SPDX-License-Identifier: Apache-2.0
"""Learns from transitions in a thread of its own, and publishes weights; callbacks only hand things over."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vla_interfaces.msg import LearnerStatus, PolicyContract, PolicyWeights, Transition, TransitionAck, WeightsAck
from vla_interfaces.srv import EvaluatePolicy

from experience.core.prior import check_weights, transitions_in
from experience.nodes import convert
from experience.nodes.runs import check_run, folder_of
from rl_learner.core import checkpoint
from rl_learner.core.run_data import shape_in
from rl_learner.core.tensorboard import TensorBoardLogger
from rl_learner.core.training_run import RuntimeLimits, TrainingRun
from rl_learner.core.update_failures import StopReason
from rl_learner.core.versions import VersionCounter
from rl_learner.core.worker import Worker, WorkerConfig
from rl_learner.nodes.catch_up import CatchUp
from rl_learner.nodes.report import status_of
from rl_methods.common.batch import WindowShape
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.common.weights import pack, split
from rl_methods.config import MethodConfig, read_method_config
from rl_methods.devices import check_device_name, device_of
from rl_methods.registry import DEFAULT_ONLINE, settings_file
from vla_policy.nodes.weights_wire import from_piece, read_key
from whetstone_common.core.contract import Contract, ContractBinding
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_contract
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.progress import Progress
from whetstone_common.nodes.resources import find

_PERIOD_S = 0.1
_REPORT_PERIOD_S = 1.0
_ACK_PERIOD_S = 1.0
_CLOSE_TIMEOUT_S = 1.4  # a checkpoint that takes longer is left: the one before is whole, and the spool has the rest
_PIECE_PAUSE_S = 0.002  # a burst of pieces overflows the socket buffer of whoever listens
_SWITCH_S = 5e-4  # a callback waits this long at most for the thread that learns
_ADVICE = "set steering_node's encoder to the method file's encoder, as whetstone train does"
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
        self._device = self._read_device()
        self._recipe = self._read_method()
        self._folder = folder_of(self.param("directory"), self.param("run"))
        self._versions = VersionCounter(self._folder / "version.json")
        self._key = read_key(self.param("weights_key_file"))
        self._acked = (0, 0.0)
        self._accepted = 0
        self._parent = self._versions.last
        self._mismatch = ""
        self._has_warned = False
        self._guarded = ""
        self._pause = threading.Event()
        self._weights = self.create_publisher(PolicyWeights, "policy_weights", qos.WEIGHTS)
        self._acks = self.create_publisher(TransitionAck, "transition_ack", qos.RECORD)
        self._statuses = self.create_publisher(LearnerStatus, "learner_status", qos.LATCHED)
        self._catch_up = CatchUp(self, self.param("run"), self._worker_or_none)
        with Progress(self) as progress:
            progress.begin("reading the newest checkpoint")
            saved = self._saved()
            if saved is not None:
                progress.begin(f"restoring the learner of {saved.step} updates")
                self._begin(self._restored(saved))
        if saved is None and self.param("freeze"):
            raise ReasonedError(Reason.BAD_PARAMETER, f"freeze: there is no checkpoint in {self._folder}")
        self.create_subscription(PolicyContract, "policy_contract", self.on_contract, qos.LATCHED)
        self.create_subscription(Transition, "transition", self.on_transition, qos.RECORD)
        self.create_subscription(WeightsAck, "weights_ack", self.on_weights_ack, qos.RECORD)
        self._published = (0, 0, float("-inf"))  # what waits_for and episodes were, and when
        self.create_service(EvaluatePolicy, "~/evaluate_policy", self.on_evaluate_policy)
        self.create_steady_timer(_PERIOD_S, self.turn)
        self.create_steady_timer(_PERIOD_S, self.report)
        self.create_steady_timer(_REPORT_PERIOD_S, self.show)

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
            self._worker.session.limits, self._worker.config = self._limits(), self._worker_config()

    # ---- the session -----------------------------------------------------------------------------------------------

    def _read_device(self) -> torch.device:
        try:
            return device_of(self.param("device"))
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, str(error)) from error

    def _read_method(self) -> MethodConfig:
        name, file = self.param("method"), self.param("method_file")
        try:
            config = read_method_config(find(file) if file else settings_file(name or DEFAULT_ONLINE))
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"method_file: {error}") from error
        if name and config.method != name:
            text = f"method_file {file} has settings of {config.method!r}, method is {name!r}"
            raise ReasonedError(Reason.BAD_PARAMETER, text)
        return config

    def _limits(self) -> RuntimeLimits:
        names = ("utd", "learning_rate", "prior_share", "max_pending_updates")
        return RuntimeLimits(most_steps=self.param("max_steps"), **{name: self.param(name) for name in names})

    def _worker_config(self) -> WorkerConfig:
        return WorkerConfig(
            publish_s=self.param("publish_period_s"),
            publish_updates=self.param("publish_updates"),
            checkpoint_s=self.param("checkpoint_period_s"),
            niceness=self.param("niceness"),
            freeze=self.param("freeze"),
        )

    def _session(self, shape: WindowShape, contract_hash: str) -> TrainingRun:
        try:
            return TrainingRun(
                self._recipe, shape, seed=self.param("seed"), capacity=self.param("capacity"), limits=self._limits(),
                contract_hash=contract_hash, device=self._device,
            )  # fmt: skip
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"method_file: {error}") from error

    def _saved(self) -> checkpoint.Snapshot | None:
        """The newest checkpoint that is whole; weights that nobody trained must never reach an arm by accident."""
        folder = self._folder / "checkpoints"
        if not self.param("freeze"):
            # What is half written may be written right now, by the learner of the run that is evaluated here.
            checkpoint.clean(folder)
        try:
            newest, wrong = checkpoint.latest(folder)
            for problem in wrong:
                self.counters["checkpoints_skipped"] += 1
                self.get_logger().warning(f"checkpoint passed over: {problem}")
            return None if newest is None else checkpoint.load(newest)
        except CheckpointError as error:
            raise ReasonedError(Reason.MODEL_FAILURE, str(error)) from error

    def _restored(self, saved: checkpoint.Snapshot) -> TrainingRun:
        session = self._session(shape_in(saved.notes), saved.notes["contract_hash"])
        try:
            changed = session.restore(saved, allow_change=self.param("allow_config_change"))
        except CheckpointError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, str(error)) from error
        for change in changed:
            self.get_logger().warning(f"another configuration than before: {change}")
        self.get_logger().info(f"goes on after {saved.step} updates")
        return session

    def _begin(self, session: TrainingRun) -> None:
        checkpoints = self._folder / "checkpoints"
        self._worker = Worker(
            session,
            checkpoints,
            self.publish_weights,
            functools.partial(self.fail, "learner"),
            self._worker_config(),
            time.monotonic,
            self._board(session),
        )
        self._worker.start()

    def _board(self, session: TrainingRun) -> TensorBoardLogger | None:
        if not self.param("tensorboard") or self.param("freeze"):
            return None
        return TensorBoardLogger(self._folder / "tensorboard", session, lambda text: self.get_logger().warning(text))

    def _worker_or_none(self) -> Worker | None:
        return self._worker

    def _fresh(self, contract: Contract) -> TrainingRun:
        try:
            shape = self._recipe.shape_of(contract, self.param("candidates"))
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"method_file: {error}") from error
        session = self._session(shape, contract.hash())
        if self.param("prior"):
            # READY, as before it: a run may begin meanwhile, its transitions are kept until they are asked for.
            with Progress(self, State.READY) as progress:
                progress.begin("reading prior data")
                self._know(session, Path(self.param("prior")), contract.weights_sha256)
        try:
            session.begin_with_prior()
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, str(error)) from error
        return session

    def _know(self, session: TrainingRun, folder: Path, served: str) -> None:
        lost: list[str] = []
        try:
            check_weights(folder, served)
            for made in transitions_in(folder, lost):
                session.add_prior(made)
        except (ValueError, OSError) as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"prior: {error}") from error
        self.counters["prior_places_damaged"] = len(lost)
        for loss in lost:
            self.get_logger().warning(f"prior: {loss}")

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
            self._begin(self._fresh(contract))
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

    def on_weights_ack(self, msg: WeightsAck) -> None:
        """Note what the robot says of a set."""
        if msg.run != self.param("run"):
            return
        self.counters["weights_accepted" if msg.accepted else "weights_refused"] += 1
        if msg.accepted:
            self._accepted = max(self._accepted, msg.version)
        else:
            self.get_logger().warning(f"version {msg.version} was refused: {msg.reason}")

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
        receipts, now_s = worker.session.receipts, time.monotonic()
        if receipts.spool and (receipts.through != self._acked[0] or now_s - self._acked[1] >= _ACK_PERIOD_S):
            self._acked = (receipts.through, now_s)
            self._acks.publish(
                TransitionAck(
                    run=self.param("run"), spool=receipts.spool, learner=self.get_fully_qualified_name(),
                    learner_epoch=self.epoch_ns, through=receipts.through,
                )
            )  # fmt: skip

    def show(self) -> None:
        """Set the node's own state and counters."""
        if self.active:
            self._show()

    def report(self) -> None:
        """Publish the state of the run, once a second and when it is news."""
        if not self.active:
            return
        status, now_s = status_of(self._worker, frozen=self.param("freeze")), time.monotonic()
        waits_for, episodes, published_s = self._published
        is_news = (status.waits_for, status.episodes) != (waits_for, episodes)
        if not is_news and now_s - published_s < _REPORT_PERIOD_S:
            return
        self._published = (status.waits_for, status.episodes, now_s)
        status.node, status.node_epoch = self.get_fully_qualified_name(), self.epoch_ns
        status.run, status.method = self.param("run"), self._recipe.method
        status.version, status.accepted_version = self._versions.last, self._accepted
        status.time = self.get_clock().now().to_msg()
        self._statuses.publish(status)

    def diagnostic_values(self) -> Mapping[str, object]:
        """Counters, and the metrics of the last update."""
        return {**self.counters, **(self._worker.session.learning.metrics if self._worker else {})}

    # ---- from the thread that learns -------------------------------------------------------------------------------

    def publish_weights(self, session: TrainingRun, weights: Mapping[str, Tensor]) -> None:
        """All pieces of a set; its version is on the disk before anyone hears of it."""
        learner = session.learner
        version = self._versions.next()
        manifest, data = pack(
            weights, learner.architecture(), method=self._recipe.method, run=self.param("run"),
            step=learner.updates, version=version, parent=self._parent, contract_hash=session.intake.contract_hash,
            created_ns=self.get_clock().now().nanoseconds, key=self._key,
        )  # fmt: skip
        pieces = split(data)
        for number, piece in enumerate(pieces):
            self._weights.publish(from_piece(manifest, number, len(pieces), piece))
            self._pause.wait(_PIECE_PAUSE_S)
        self._parent = version
        self.counters["weights_published"] += 1

    # ---- status ------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        if self.status[0] is State.ERROR:
            return
        worker = self._worker
        if worker is not None:
            tally, receipts = worker.session.tally, worker.session.receipts
            told = {
                "windows": tally.windows, "windows_refused": tally.refused,
                "windows_without_images": tally.without_images, "transitions_lost": tally.lost,
                "transitions_repeated": receipts.duplicates, "transitions_ahead": receipts.gaps,
                "updates": worker.session.learner.updates, "updates_skipped": worker.session.failures.skipped,
                "episodes": tally.episodes, "robot_steps": tally.steps, "through": receipts.through,
            }  # fmt: skip
            for name, count in told.items():
                self.counters[name] = count
            self._warn_of(worker.session.intake.mismatch)
            self._warn_of_guard(worker.session.guard.text)
        self.set_state(*self._state(worker))

    def _warn_of(self, mismatch: str) -> None:
        if mismatch and not self._has_warned:
            self._has_warned = True
            self.get_logger().warning(f"transitions are refused: {mismatch}; {_ADVICE}")

    def _warn_of_guard(self, text: str) -> None:
        if text and text != self._guarded:
            self.get_logger().warning(text)
        self._guarded = text

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
