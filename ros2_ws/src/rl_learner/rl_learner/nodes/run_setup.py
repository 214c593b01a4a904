# SPDX-License-Identifier: Apache-2.0
"""How a run begins: method, device and folder from the parameters; resumed from its newest checkpoint, or new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experience.core.prior import check_weights, transitions_in
from experience.nodes.runs import folder_of
from rl_learner.core import checkpoint
from rl_learner.core.run_data import shape_in
from rl_learner.core.tensorboard import TensorBoardLogger
from rl_learner.core.training_run import RuntimeLimits, TrainingRun
from rl_learner.core.worker import WorkerConfig
from rl_methods.common.batch import WindowShape
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.config import MethodConfig, read_method_config
from rl_methods.devices import device_of
from rl_methods.registry import DEFAULT_ONLINE, settings_file
from whetstone_common.core.contract import Contract
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.progress import Progress
from whetstone_common.nodes.resources import find


class RunSetup:
    """Makes the training run that the parameters of a node name.

    Args:
        node: Whose parameters, counters and log are used.
        robots: Names of the robots that feed the run.

    Attributes:
        method: Settings of the method.
        folder: Of the run.

    Raises:
        ReasonedError: The device or the method cannot be used.
    """

    def __init__(self, node: WhetstoneNode, robots: Sequence[str]) -> None:
        self._node, self._robots = node, robots
        try:
            self._device = device_of(node.param("device"))
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, str(error)) from error
        self.method = self._read_method()
        self.folder = folder_of(node.param("directory"), node.param("run"))

    @property
    def checkpoints(self) -> Path:
        """Folder of the run's checkpoints."""
        return self.folder / "checkpoints"

    def limits(self) -> RuntimeLimits:
        """What may be turned while the run learns, as the parameters are now."""
        names = ("utd", "learning_rate", "prior_share", "max_pending_updates")
        values = {name: self._node.param(name) for name in names}
        return RuntimeLimits(most_steps=self._node.param("max_steps"), **values)

    def worker_config(self) -> WorkerConfig:
        """How the thread that learns goes about it, as the parameters are now."""
        param = self._node.param
        return WorkerConfig(
            publish_s=param("publish_period_s"),
            publish_updates=param("publish_updates"),
            checkpoint_s=param("checkpoint_period_s"),
            niceness=param("niceness"),
            freeze=param("freeze"),
        )

    def board(self, session: TrainingRun) -> TensorBoardLogger | None:
        """Where the curves of a run are written; None when they are not."""
        if not self._node.param("tensorboard") or self._node.param("freeze"):
            return None
        return TensorBoardLogger(self.folder / "tensorboard", session, self._warn)

    # ---- a run that goes on ------------------------------------------------------------------------------------------

    def resumed(self) -> TrainingRun | None:
        """The run as its newest whole checkpoint has it, None when there is no checkpoint.

        Raises:
            ReasonedError: Checkpoints cannot be used, or there must be one and is none.
        """
        with Progress(self._node) as progress:
            progress.begin("reading the newest checkpoint")
            saved = self._saved()
            if saved is not None:
                progress.begin(f"restoring the learner of {saved.step} updates")
                return self._restored(saved)
        if self._node.param("freeze"):
            raise ReasonedError(Reason.BAD_PARAMETER, f"freeze: there is no checkpoint in {self.folder}")
        return None

    def _saved(self) -> checkpoint.Snapshot | None:
        """The newest checkpoint that is whole; weights that nobody trained must never reach an arm by accident."""
        if not self._node.param("freeze"):
            # What is half written may be written right now, by the learner of the run that is evaluated here.
            checkpoint.clean(self.checkpoints)
        try:
            newest, wrong = checkpoint.latest(self.checkpoints)
            for problem in wrong:
                self._node.counters["checkpoints_skipped"] += 1
                self._warn(f"checkpoint passed over: {problem}")
            return None if newest is None else checkpoint.load(newest)
        except CheckpointError as error:
            raise ReasonedError(Reason.MODEL_FAILURE, str(error)) from error

    def _restored(self, saved: checkpoint.Snapshot) -> TrainingRun:
        session = self._session(shape_in(saved.notes), saved.notes["contract_hash"])
        try:
            changed = session.restore(saved, allow_change=self._node.param("allow_config_change"))
        except CheckpointError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, str(error)) from error
        for change in changed:
            self._warn(f"another configuration than before: {change}")
        self._node.get_logger().info(f"goes on after {saved.step} updates")
        return session

    # ---- a new run ---------------------------------------------------------------------------------------------------

    def new(self, contract: Contract) -> TrainingRun:
        """A run that begins under a contract, with the prior data that the parameters name.

        Raises:
            ReasonedError: Method or prior data do not fit.
        """
        try:
            shape = self.method.shape_of(contract, self._node.param("candidates"))
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"method_file: {error}") from error
        session = self._session(shape, contract.hash())
        if self._node.param("prior"):
            # READY, as before it: a run may begin meanwhile, its transitions are kept until they are asked for.
            with Progress(self._node, State.READY) as progress:
                progress.begin("reading prior data")
                self._add_prior(session, Path(self._node.param("prior")), contract.weights_sha256)
        try:
            session.begin_with_prior()
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, str(error)) from error
        return session

    def _add_prior(self, session: TrainingRun, folder: Path, served: str) -> None:
        lost: list[str] = []
        try:
            check_weights(folder, served)
            for made in transitions_in(folder, lost):
                session.add_prior(made)
        except (ValueError, OSError) as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"prior: {error}") from error
        self._node.counters["prior_places_damaged"] = len(lost)
        for loss in lost:
            self._warn(f"prior: {loss}")

    # ---- both --------------------------------------------------------------------------------------------------------

    def _read_method(self) -> MethodConfig:
        name, file = self._node.param("method"), self._node.param("method_file")
        try:
            config = read_method_config(find(file) if file else settings_file(name or DEFAULT_ONLINE))
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"method_file: {error}") from error
        if name and config.method != name:
            text = f"method_file {file} has settings of {config.method!r}, method is {name!r}"
            raise ReasonedError(Reason.BAD_PARAMETER, text)
        return config

    def _session(self, shape: WindowShape, contract_hash: str) -> TrainingRun:
        param = self._node.param
        try:
            return TrainingRun(
                self.method, shape, seed=param("seed"), capacity=param("capacity"), limits=self.limits(),
                contract_hash=contract_hash, robots=self._robots, device=self._device,
            )  # fmt: skip
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"method_file: {error}") from error

    def _warn(self, text: str) -> None:
        self._node.get_logger().warning(text)
