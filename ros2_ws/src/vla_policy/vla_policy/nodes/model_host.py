# SPDX-License-Identifier: Apache-2.0
"""The model that a node serves: loaded and tried at set-up, replaced between two requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vla_policy.core.model_swap import ModelRefusedError, ServedModel, probe_observation, replacement, tried
from vla_policy.core.protocol import Backend, PolicySpec
from vla_policy.core.serving import contract_of, weights_sha256
from vla_policy.nodes.backends import NO_DIRECTORY, build_backend, figures, outage, release, retell
from vla_policy.nodes.model_loading import ModelLoading
from whetstone_common.core.contract import Contract
from whetstone_common.core.reason import Reason, ReasonedError
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.progress import Progress
from whetstone_common.nodes.resources import find
from whetstone_common.nodes.robot_files import robot_of_parameter

_TURN_TIMEOUT_S = 5.0


class ModelHost:
    """Holds one model at a time.

    Args:
        node: Its parameters name the model and the robot.

    Attributes:
        model: That serves now.
        turn: Held while a request is worked on: a model is swapped between two.

    Raises:
        ReasonedError: The model cannot be loaded, fails when it is tried, or does not fit the parameters.
    """

    def __init__(self, node: WhetstoneNode) -> None:
        self._node = node
        self._joints = robot_of_parameter(node.param("robot_file")).contract_joints
        self.model = self._load()
        if node.param("execution") == "rtc" and self.model.contract.action_space != "cartesian":
            raise ReasonedError(Reason.BAD_PARAMETER, "execution = 'rtc': the policy's actions are not Cartesian")
        self.turn = threading.Lock()
        self._loading: ModelLoading | None = None

    @property
    def backend(self) -> Backend:
        """That of the model."""
        return self.model.backend

    def offer_swap(self, swapped: Callable[[], None]) -> None:
        """Let people load another model while this one serves.

        Args:
            swapped: Called when another model serves.
        """

        def install(model: ServedModel) -> None:
            self._install(model)
            swapped()

        self._loading = ModelLoading(self._node, self._load_beside, lambda: self.model, install)

    def close(self) -> None:
        """A model that is still being loaded will not serve; a policy server is left."""
        if self._loading is not None:
            self._loading.close()
            self._loading = None
        release(self.backend)

    def outage(self) -> tuple[Reason, str] | None:
        """Why the model cannot be asked now, None while it can."""
        return outage(self.backend)

    def figures(self) -> Mapping[str, object]:
        """What diagnostics show of the model."""
        return figures(self.backend)

    def retell(self) -> None:
        """Give a fake model its new script; others have none."""
        retell(self.backend, self._node.param)

    def _load(self) -> ServedModel:
        """Load, warm up and try the model."""
        kind = self._node.param("backend")
        with Progress(self._node) as progress:
            try:
                backend = build_backend(self._node.param, progress.begin, self._joints)
            except Exception as error:
                raise ReasonedError(Reason.MODEL_FAILURE, f"{kind}: {error}") from error
            try:
                return self._tried(backend, progress)
            except Exception as error:
                release(backend)
                if isinstance(error, ReasonedError):
                    raise
                raise ReasonedError(Reason.MODEL_FAILURE, f"{kind}: {error}") from error

    def _tried(self, backend: Backend, progress: Progress) -> ServedModel:
        kind = self._node.param("backend")
        progress.begin("warming up")
        backend.warmup()
        if kind == "fake":
            features = np.zeros(backend.spec.feature_dim, np.float32)  # its script may tell it to fail
            return ServedModel(backend, self._contract_of(backend.spec, ""), features)
        directory = None if kind in NO_DIRECTORY else find(self._node.param("model_dir"))
        progress.begin("hashing weights")
        contract = self._contract_of(backend.spec, "" if directory is None else weights_sha256(directory))
        progress.begin("trying the model")
        features = tried(backend, probe_observation(backend.spec))
        return ServedModel(backend, contract, features, "" if directory is None else str(directory))

    def _contract_of(self, spec: PolicySpec, digest: str) -> Contract:
        try:
            return contract_of(spec, self._joints, digest)
        except ValueError as error:
            raise ReasonedError(Reason.CONTRACT_MISMATCH, str(error)) from error

    def _load_beside(self, directory: Path, sha256: str) -> ServedModel:
        """Another model, while this one serves."""
        param = self._node.param
        if param("backend") in NO_DIRECTORY:
            raise ModelRefusedError(f"the {param('backend')} backend has no model directory")

        def load(folder: Path) -> Backend:
            return build_backend(
                lambda name: str(folder) if name == "model_dir" else param(name), joint_names=self._joints
            )

        return replacement(self.model, directory, sha256, load, self._contract_of)

    def _install(self, model: ServedModel) -> None:
        """Serve another model from the next request on."""
        if not self.turn.acquire(timeout=_TURN_TIMEOUT_S):
            raise ModelRefusedError(f"the present model works on one request for more than {_TURN_TIMEOUT_S:g} s")
        try:
            self.model = model
        finally:
            self.turn.release()
