# SPDX-License-Identifier: Apache-2.0
"""Learns from transitions in a thread of its own, and publishes weights; callbacks only hand things over."""

from __future__ import annotations

import functools
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray
from vla_interfaces.msg import PolicyContract, PolicyWeights, Transition, TransitionAck, WeightsAck

from rl_learner.core import checkpoint
from rl_learner.core.board import Board
from rl_learner.core.prior import check_weights, transitions_in
from rl_learner.core.recipe import Recipe, read_recipe
from rl_learner.core.replay import ReplayShape
from rl_learner.core.session import Halt, Limits, Session
from rl_learner.core.versions import VersionBook
from rl_learner.core.worker import Rhythm, Worker
from rl_learner.nodes import convert
from rl_learner.nodes.catch_up import CatchUp
from rl_learner.nodes.report import figures, to_diagnostics
from rl_learner.nodes.runs import check_run, folder_of
from vla_policy.core.files import CheckpointError
from vla_policy.core.steering.weights import pack, split
from vla_policy.nodes.resources import find
from vla_policy.nodes.weights_wire import from_piece, read_key
from whetstone_common.core.contract import Contract, ContractBook
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_contract
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.progress import Progress

_PERIOD_S = 0.1
_REPORT_PERIOD_S = 1.0
_ACK_PERIOD_S = 1.0
_CLOSE_TIMEOUT_S = 1.4  # a checkpoint that takes longer is left: the one before is whole, and the spool has the rest
_PIECE_PAUSE_S = 0.002  # a burst of pieces overflows the shared memory of the middleware
_SWITCH_S = 5e-4  # a callback waits this long at most for the thread that learns
_HALTS = {Halt.DIVERGED: Reason.NOT_FINITE, Halt.OUT_OF_MEMORY: Reason.MODEL_FAILURE}


class LearnerNode(WhetstoneNode):
    """Transitions in; weights, acknowledgements and diagnostics out."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        self._worker: Worker | None = None
        self._contracts = ContractBook()
        super().__init__("learner_node", package="rl_learner", **kwargs)

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Refuse a run that is no folder's name.

        Raises:
            ParameterError: It is not.
        """
        check_run(values["run"])

    def on_setup(self) -> None:
        """Read the method, go on from the newest checkpoint, and connect."""
        torch.set_num_threads(self.param("threads"))
        self._recipe = self._read_method()
        self._folder = folder_of(self.param("directory"), self.param("run"))
        self._versions = VersionBook(self._folder / "version.json")
        self._key = read_key(self.param("weights_key_file"))
        self._acked = (0, 0.0)
        self._accepted = 0
        self._parent = self._versions.last
        self._mismatch = ""
        self._has_warned = False
        self._pause = threading.Event()
        self._weights = self.create_publisher(PolicyWeights, "policy_weights", qos.WEIGHTS)
        self._acks = self.create_publisher(TransitionAck, "transition_ack", qos.RECORD)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.RECORD)
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
        self.create_steady_timer(_PERIOD_S, self.turn)
        self.create_steady_timer(_REPORT_PERIOD_S, self.report)

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
            self._worker.session.limits, self._worker.rhythm = self._limits(), self._rhythm()

    # ---- the session -----------------------------------------------------------------------------------------------

    def _read_method(self) -> Recipe:
        try:
            return read_recipe(find(self.param("method_file")))
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"method_file: {error}") from error

    def _limits(self) -> Limits:
        names = ("utd", "learning_rate", "prior_share", "band")
        return Limits(most_steps=self.param("max_steps"), **{name: self.param(name) for name in names})

    def _rhythm(self) -> Rhythm:
        return Rhythm(
            publish_s=self.param("publish_period_s"),
            publish_updates=self.param("publish_updates"),
            checkpoint_s=self.param("checkpoint_period_s"),
            niceness=self.param("niceness"),
            freeze=self.param("freeze"),
        )

    def _session(self, shape: ReplayShape, contract_hash: str) -> Session:
        return Session(
            self._recipe, shape, seed=self.param("seed"), capacity=self.param("capacity"), limits=self._limits(),
            contract_hash=contract_hash,
        )  # fmt: skip

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

    def _restored(self, saved: checkpoint.Snapshot) -> Session:
        session = self._session(ReplayShape(**saved.notes["shape"]), saved.notes["contract_hash"])
        try:
            changed = session.restore(saved, allow_change=self.param("allow_config_change"))
        except CheckpointError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, str(error)) from error
        for change in changed:
            self.get_logger().warning(f"another configuration than before: {change}")
        self.get_logger().info(f"goes on after {saved.step} updates")
        return session

    def _begin(self, session: Session) -> None:
        checkpoints = self._folder / "checkpoints"
        self._worker = Worker(
            session,
            checkpoints,
            self.publish_weights,
            functools.partial(self.fail, "learner"),
            self._rhythm(),
            time.monotonic,
            self._board(session),
        )
        self._worker.start()

    def _board(self, session: Session) -> Board | None:
        if not self.param("tensorboard") or self.param("freeze"):
            return None
        return Board(self._folder / "tensorboard", session, lambda text: self.get_logger().warning(text))

    def _worker_or_none(self) -> Worker | None:
        return self._worker

    def _fresh(self, contract: Contract) -> Session:
        dims = len(contract.action_names)
        shape = ReplayShape(
            contract.feature_dim, self._recipe.steps, dims, self.param("candidates"), contract.horizon, dims
        )
        if shape.steps > shape.horizon:
            text = f"method_file: steps is {shape.steps}, the policy's chunks have {shape.horizon}"
            raise ReasonedError(Reason.BAD_PARAMETER, text)
        session = self._session(shape, contract.hash())
        if self.param("prior"):
            # READY, as before it: a run may begin meanwhile, its transitions are kept until they are asked for.
            with Progress(self, State.READY) as progress:
                progress.begin("reading prior data")
                self._know(session, Path(self.param("prior")), contract.weights_sha256)
        return session

    def _know(self, session: Session, folder: Path, served: str) -> None:
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
            differences = self._contracts.offer(contract)
        except ValueError as error:
            self._mismatch = str(error)
            return
        if self._worker is None and not differences:
            self._begin(self._fresh(contract))
        bound = self._worker.session.contract_hash if self._worker else contract.hash()
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

    def report(self) -> None:
        """Say how things are."""
        if not self.active:
            return
        self._show()
        said = figures(self._worker, self._recipe.method, self.param("run"), frozen=self.param("freeze"))
        said |= {"version": self._versions.last, "accepted_version": self._accepted, "method": self._recipe.method}
        self._diagnostics.publish(to_diagnostics(self.get_fully_qualified_name(), self.status, said, self.get_clock()))

    # ---- from the thread that learns -------------------------------------------------------------------------------

    def publish_weights(self, session: Session) -> None:
        """All pieces of a set; its version is on the disk before anyone hears of it."""
        learner = session.learner
        version = self._versions.next()
        manifest, data = pack(
            learner.actor_weights(), learner.architecture(), method=self._recipe.method, run=self.param("run"),
            step=learner.updates, version=version, parent=self._parent, contract_hash=session.contract_hash,
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
                "windows_of_another_discount": tally.other_discount, "transitions_lost": tally.lost,
                "transitions_repeated": receipts.duplicates, "transitions_ahead": receipts.gaps,
                "updates": worker.session.learner.updates, "updates_skipped": worker.session.skipped,
                "episodes": tally.episodes, "robot_steps": tally.steps, "through": receipts.through,
            }  # fmt: skip
            for name, count in told.items():
                self.counters[name] = count
            self._warn_of(worker.session.mismatch)
        self.set_state(*self._state(worker))

    def _warn_of(self, mismatch: str) -> None:
        if mismatch and not self._has_warned:
            self._has_warned = True
            text = "transitions are refused: %s; set transition_node's gamma or the method file's schedule.discount"
            self.get_logger().warning(text % mismatch)

    def _state(self, worker: Worker | None) -> tuple[State, Reason, str]:
        if self._mismatch:
            return State.HOLDING, Reason.CONTRACT_MISMATCH, self._mismatch
        if worker is None:
            return State.READY, Reason.NONE, "waiting for the policy's contract"
        session = worker.session
        if session.halt is not None:
            return State.HOLDING, _HALTS[session.halt], f"{session.halt.value}: {session.problem}"
        if worker.disk_problem:
            return State.HOLDING, Reason.DISK_FULL, worker.disk_problem
        problem = worker.problem or self._catch_up.problem
        if problem:
            return State.HOLDING, Reason.BAD_MESSAGE, problem
        return State.READY, Reason.NONE, "frozen" if self.param("freeze") else session.phase.value


def main() -> None:
    """Run the node."""
    sys.setswitchinterval(_SWITCH_S)
    run(LearnerNode)
