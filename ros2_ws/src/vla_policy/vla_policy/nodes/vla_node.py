# SPDX-License-Identifier: Apache-2.0
"""Serves a vision-language-action model: observation in, features and N candidate chunks out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from std_msgs.msg import Bool, String, UInt32
from vla_interfaces.msg import Features, Noise, PolicyContract, Proposal, Request
from vla_interfaces.msg import Observation as ObservationMsg

from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.inbox import NewestInbox, Slot
from vla_policy.core.model_swap import ModelRefusedError, ServedModel, probe_observation, replacement, tried
from vla_policy.core.protocol import Backend, FloatArray, Observation, ObservationError, PolicySpec
from vla_policy.core.serving import (
    checked_chunks,
    checked_features,
    contract_of,
    draw_noise,
    merge_noise,
    weights_sha256,
)
from vla_policy.nodes.backends import build_backend, retell
from vla_policy.nodes.convert import from_features, to_chunk_prefix, to_noise, to_observation
from vla_policy.nodes.model_loading import ModelLoading
from whetstone_common.core.contract import Contract
from whetstone_common.core.epochs import NewestStamp
from whetstone_common.core.instruction import InstructionError, check_instruction
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.core.stamp import Stamp
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import float32_field, from_contract, to_stamp
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.progress import Progress
from whetstone_common.nodes.resources import find
from whetstone_common.nodes.robot_files import robot_of_parameter

_JOIN_TIMEOUT_S = 1.0
_ANNOUNCE_PERIOD_S = 1.0
_TURN_TIMEOUT_S = 5.0
# A refusal is shown for so long; no episode begins meanwhile, and without one no good observation would end it.
_REFUSAL_SHOWN_S = 2.0


@dataclass(frozen=True, eq=False)
class Job:
    """One observation to work on.

    Attributes:
        stamp: Its request cycle.
        is_query: Whether the result is never played.
        observation: What the model sees.
        msg: The message it came in, for what only travels along.
    """

    stamp: Stamp
    is_query: bool
    observation: Observation
    msg: ObservationMsg


@dataclass(frozen=True, eq=False)
class Draw:
    """Noises and how they came about.

    Attributes:
        noise: float32 [N, H, D].
        is_steered: They are steering_node's.
        has_timed_out: They should have been, and did not come in time.
    """

    noise: FloatArray
    is_steered: bool = False
    has_timed_out: bool = False


class VlaNode(WhetstoneNode):
    """Prefix once, features out, N noises as one batch, proposal out; all in one thread of its own."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; everything else is made by the hooks."""
        super().__init__("vla_node", package="vla_policy", **kwargs)
        self._wanted: int | None = None
        self._steers_noise: bool | None = None
        self._newest = NewestStamp()
        self._failures = 0
        self._refused_s = 0.0
        self._words_refused = ""
        self._thread: threading.Thread | None = None
        self._loading: ModelLoading | None = None
        self._turn = threading.Lock()  # held while a request is worked on: a model is swapped between two

    # ---- hooks -----------------------------------------------------------------------------------------------------

    def on_setup(self) -> None:
        """Load and warm up the model, and say what it takes and gives."""
        robot = robot_of_parameter(self.param("robot_file"))
        self._joints = robot.contract_joints
        self._model = self._load()
        if self.param("execution") == "rtc" and self._model.contract.action_space != "cartesian":
            raise ReasonedError(Reason.BAD_PARAMETER, "execution = 'rtc': the policy's actions are not Cartesian")
        self._hash = self._model.contract.hash()
        self._features = self.create_publisher(Features, "features", qos.RING)
        self._proposals = self.create_publisher(Proposal, "proposal", qos.RING)
        self._contracts = self.create_publisher(PolicyContract, "policy_contract", qos.LATCHED)
        self.create_subscription(UInt32, "n_candidates", self.on_wanted, qos.LATCHED)
        self.create_subscription(Bool, "steer_noise", self.on_steer_noise, qos.LATCHED)
        self.create_subscription(Noise, "noise", self.on_noise, qos.RING)
        self.create_subscription(String, "instruction", self.on_instruction, qos.LATCHED)
        self.create_subscription(ObservationMsg, "observation", self.on_observation, qos.RING)
        self.create_steady_timer(_ANNOUNCE_PERIOD_S, self.announce)
        self._loading = ModelLoading(self, self._load_beside, lambda: self._model, self._install)
        self.announce()

    def _load(self) -> ServedModel:
        """Load, warm up and try the model."""
        is_fake = self.param("backend") == "fake"
        with Progress(self) as progress:
            try:
                backend = build_backend(self.param, progress.begin, self._joints)
                progress.begin("warming up")
                backend.warmup()
            except Exception as error:
                raise ReasonedError(Reason.MODEL_FAILURE, f"{self.param('backend')}: {error}") from error
            if is_fake:
                features = np.zeros(backend.spec.feature_dim, np.float32)  # its script may tell it to fail
                return ServedModel(backend, self._contract_of(backend.spec, ""), features)
            progress.begin("hashing weights")
            directory = find(self.param("model_dir"))
            contract = self._contract_of(backend.spec, weights_sha256(directory))
            progress.begin("trying the model")
            try:
                features = tried(backend, probe_observation(backend.spec))
            except Exception as error:
                raise ReasonedError(Reason.MODEL_FAILURE, f"{self.param('backend')}: {error}") from error
            return ServedModel(backend, contract, features, str(directory))

    def _contract_of(self, spec: PolicySpec, digest: str) -> Contract:
        try:
            return contract_of(spec, self._joints, digest)
        except ValueError as error:
            raise ReasonedError(Reason.CONTRACT_MISMATCH, str(error)) from error

    def _load_beside(self, directory: Path, sha256: str) -> ServedModel:
        """Another model, while this one serves."""
        kind = self.param("backend")
        if kind == "fake":
            raise ModelRefusedError("the fake backend has no model directory")

        def load(folder: Path) -> Backend:
            return build_backend(
                lambda name: str(folder) if name == "model_dir" else self.param(name), joint_names=self._joints
            )

        return replacement(self._model, directory, sha256, load, self._contract_of)

    def _install(self, model: ServedModel) -> None:
        """Serve another model from the next request on."""
        if not self._turn.acquire(timeout=_TURN_TIMEOUT_S):
            raise ModelRefusedError(f"the present model works on one request for more than {_TURN_TIMEOUT_S:g} s")
        try:
            self._model, self._failures = model, 0
        finally:
            self._turn.release()
        self.announce()

    @property
    def _backend(self) -> Backend:
        return self._model.backend

    def on_start(self) -> None:
        """Start the thread that works."""
        self._failures = 0
        self._inbox: NewestInbox[Job] = NewestInbox(lambda new, old: old.is_query or not new.is_query)
        self._noise: Slot[FloatArray] = Slot()
        serve = self.guarded(self.serve)
        self._thread = threading.Thread(target=self._work, args=(self._inbox, serve), name="vla", daemon=True)
        self._thread.start()
        self._say_ready()

    def on_stop(self) -> None:
        """Stop the thread; a model that hangs is left behind rather than waited for."""
        if self._thread is None:
            return
        self._inbox.close()
        self._noise.close()
        self._thread.join(_JOIN_TIMEOUT_S)
        self._thread = None

    def on_teardown(self) -> None:
        """Let go of the model."""
        self._newest, self._words_refused = NewestStamp(), ""
        if self._loading is not None:
            self._loading.close()
            self._loading = None
        if hasattr(self, "_model"):
            del self._model

    def parameters_changed(self, names: set[str]) -> None:
        """A fake model can be told to fail while it runs."""
        if hasattr(self, "_model") and any(name.startswith("fake_") for name in names):
            retell(self._backend, self.param)

    def announce(self) -> None:
        """Publish the contract; again and again, as a latched sample can reach a late reader after seconds."""
        self._contracts.publish(from_contract(self._model.contract))
        if self.status[0] is State.HOLDING and time.monotonic() - self._refused_s > _REFUSAL_SHOWN_S:
            self._say_ready()

    def _say_ready(self) -> None:
        """READY, unless the words of the task are some that the model cannot take."""
        if self._words_refused:
            self.set_state(State.HOLDING, Reason.BAD_MESSAGE, self._words_refused)
        else:
            self.set_state(State.READY)

    # ---- callbacks: short, the work is done elsewhere ----------------------------------------------------------------

    def on_wanted(self, msg: UInt32) -> None:
        """Take how many candidates steering_node wants."""
        self._wanted = max(1, msg.data)

    def on_steer_noise(self, msg: Bool) -> None:
        """Take whether steering_node's policy chooses the noise."""
        self._steers_noise = msg.data

    @property
    def _waits_for_noise(self) -> bool:
        return self.param("steer_noise") if self._steers_noise is None else self._steers_noise

    def on_instruction(self, msg: String) -> None:
        """Say at once that the model cannot take these words, before anything moves."""
        try:
            self._backend.check_instruction(check_instruction(msg.data))
            self._words_refused = ""
        except InstructionError:
            return  # observation_node refuses them for everybody
        except ObservationError as error:
            self.counters["instruction_bad"] += 1
            self._words_refused = str(error)
        if self.active and self.status[0] in (State.READY, State.HOLDING):
            self._say_ready()

    def on_noise(self, msg: Noise) -> None:
        """Take noise that steering_node chose."""
        try:
            noise = to_noise(msg)
        except ValueError as error:
            self._refuse("noise_bad", Reason.BAD_MESSAGE, str(error))
            return
        if not (self.active and self._noise.put(to_stamp(msg.stamp), noise)):
            self.counters["noise_late"] += 1

    def on_observation(self, msg: ObservationMsg) -> None:
        """Take an observation; a newer one displaces one that waits."""
        if not self.active:
            return
        stamp, now_s = to_stamp(msg.stamp), time.monotonic()
        if not self._newest.is_newer(stamp, now_s):
            self.counters["observation_old"] += 1
            return
        try:
            job = Job(stamp, msg.kind == Request.QUERY_ONLY, to_observation(msg), msg)
            self._backend.spec.check(job.observation)
        except ValueError as error:
            self._refuse("observation_bad", Reason.BAD_MESSAGE, str(error))
            return
        self._newest.accept(stamp, now_s)
        if not self._inbox.put(job):
            self.counters["observation_dropped"] += 1

    def _refuse(self, counter: str, reason: Reason, detail: str) -> None:
        self.counters[counter] += 1
        self._refused_s = time.monotonic()
        self.set_state(State.HOLDING, reason, detail)

    # ---- the thread that works ---------------------------------------------------------------------------------------

    def _work(self, inbox: NewestInbox[Job], serve: Callable[[Job], None]) -> None:
        try:
            while (job := inbox.get()) is not None:
                serve(job)
        except BaseException as error:
            self.fail("worker thread", error)
            raise

    def serve(self, job: Job) -> None:
        """Work on one observation, unless the model has failed too often."""
        if self._failures >= self.param("max_failures"):
            self.counters["observation_refused"] += 1
            return
        try:
            with self._turn:
                is_served = self._propose(job)
        except ObservationError as error:
            self._refuse("observation_bad", Reason.BAD_MESSAGE, str(error))
            return
        except Exception as error:
            self._failures += 1
            self.counters["model_failures"] += 1
            again = "" if self._failures < self.param("max_failures") else "; not tried again until activated anew"
            text = f"{type(error).__name__}: {error} ({self._failures} in a row{again})"
            raise ReasonedError(Reason.MODEL_FAILURE, text) from error
        self._failures = 0
        if is_served:
            self._say_ready()

    def _propose(self, job: Job) -> bool:
        began = time.perf_counter()
        context = self._backend.prefix(job.observation)
        features = checked_features(self._backend, context)
        prefix_s = time.perf_counter() - began
        is_steered = self._waits_for_noise
        if is_steered:
            self._noise.expect(job.stamp)
        # Methods that do not steer noise wait for the proposal, which carries the features as well.
        if self._features.get_subscription_count() > 0:
            self._features.publish(from_features(job.msg, features, self._hash, expected=is_steered))
        draw = self._draw(job, is_steered=is_steered)
        if self._is_displaced(job):
            self.counters["observation_superseded"] += 1
            return False
        began = time.perf_counter()
        chunks = checked_chunks(self._backend, context, draw.noise, self._old_chunk(job))
        denoise_s = time.perf_counter() - began
        self._proposals.publish(self._message(job, features, chunks, draw, prefix_s, denoise_s))
        self.counters["proposals"] += 1
        return True

    def _old_chunk(self, job: Job) -> ChunkPrefix | None:
        if self.param("execution") != "rtc":
            return None
        return to_chunk_prefix(job.msg, self._backend.spec, self.param("rtc_beta"))

    def _draw(self, job: Job, *, is_steered: bool) -> Draw:
        n = min(self._wanted or self.param("n_candidates"), self.param("max_candidates"))
        seed = job.msg.request.seed or self.param("seed")
        gaussian = draw_noise(n, self._backend.spec, seed, job.stamp.sequence)
        if not is_steered:
            return Draw(gaussian)
        steered = self._noise.wait(self.param("steer_deadline_s"))
        if steered is None or steered.shape != (n, *self._backend.spec.chunk_shape):
            self.counters["noise_timed_out" if steered is None else "noise_bad"] += 1
            return Draw(gaussian, has_timed_out=True)
        return Draw(merge_noise(steered, gaussian), is_steered=True)

    def _is_displaced(self, job: Job) -> bool:
        """Whether the result would be thrown away: an observation of a newer request waits."""
        waiting = self._inbox.peek()
        return waiting is not None and (job.is_query or not waiting.is_query)

    def _message(
        self, job: Job, features: FloatArray, chunks: FloatArray, draw: Draw, prefix_s: float, denoise_s: float
    ) -> Proposal:
        n, horizon, action_dim = chunks.shape
        return Proposal(
            stamp=job.msg.stamp,
            kind=job.msg.kind,
            contract_hash=self._hash,
            n=n,
            horizon=horizon,
            action_dim=action_dim,
            chunks=float32_field(chunks),
            noise=float32_field(draw.noise[:, :, :action_dim]),
            noise_steered=draw.is_steered,
            noise_timed_out=draw.has_timed_out,
            features=float32_field(features),
            proprio=job.msg.proprio,
            tcp_pose=np.asarray(job.msg.tcp_pose, dtype=np.float64),
            joint_positions=job.msg.joint_positions,
            instruction=job.msg.instruction,
            prefix_s=prefix_s,
            denoise_s=denoise_s,
            request=job.msg.request,
        )


def main() -> None:
    """Entry point."""
    run(VlaNode)
