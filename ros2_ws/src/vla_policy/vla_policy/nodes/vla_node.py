# SPDX-License-Identifier: Apache-2.0
"""Serves a vision-language-action model: observation in, features and N candidate chunks out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from std_msgs.msg import String
from vla_interfaces.msg import Observation as ObservationMsg
from vla_interfaces.msg import Request

from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.protocol import ObservationError, UnavailableError
from vla_policy.core.serving import checked_chunks, checked_features
from vla_policy.nodes.backends import check_remote
from vla_policy.nodes.convert import to_chunk_prefix, to_observation
from vla_policy.nodes.model_host import ModelHost
from vla_policy.nodes.proposal_noise import ProposalNoise
from vla_policy.nodes.proposal_worker import Job, ProposalWorker
from vla_policy.nodes.vla_outputs import VlaOutputs
from whetstone_common.core.epochs import NewestStamp
from whetstone_common.core.instruction import InstructionError, check_instruction
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_stamp
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode

_ANNOUNCE_PERIOD_S = 1.0
# A refusal is shown for so long; no episode begins meanwhile, and without one no good observation would end it.
_REFUSAL_SHOWN_S = 2.0


class VlaNode(WhetstoneNode):
    """Prefix once, features out, N noises as one batch, proposal out; all in one thread of its own."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; everything else is made by the hooks."""
        super().__init__("vla_node", package="vla_policy", **kwargs)
        self._newest = NewestStamp()
        self._refused_s = 0.0
        self._words_refused = ""
        self._noise = ProposalNoise(self, self._refuse)
        self._host: ModelHost | None = None
        self._worker: ProposalWorker | None = None

    # ---- hooks -----------------------------------------------------------------------------------------------------

    def on_setup(self) -> None:
        """Load and warm up the model, and say what it takes and gives."""
        self._host = ModelHost(self)
        self._outputs = VlaOutputs(self, self._host.model.contract)
        self._noise.listen()
        self.create_subscription(String, "instruction", self.on_instruction, qos.LATCHED)
        self.create_subscription(ObservationMsg, "observation", self.on_observation, qos.RING)
        self.create_steady_timer(_ANNOUNCE_PERIOD_S, self.announce)
        self._host.offer_swap(self.announce)
        self.announce()

    @property
    def _served(self) -> ModelHost:
        """The model; there is one from set-up to tear-down."""
        assert self._host is not None  # noqa: S101 - callbacks come only in between
        return self._host

    def on_start(self) -> None:
        """Start the thread that works."""
        self._served.failures = 0
        self._noise.open()
        self._worker = ProposalWorker(self.guarded(self.serve), lambda error: self.fail("worker thread", error))
        self._say_ready()

    def on_stop(self) -> None:
        """Stop the thread; a model that hangs is left behind rather than waited for."""
        if self._worker is None:
            return
        self._worker.close()
        self._noise.close()
        self._worker.join()
        self._worker = None

    def on_teardown(self) -> None:
        """Let go of the model."""
        self._newest, self._words_refused = NewestStamp(), ""
        if self._host is not None:
            self._host.close()
            self._host = None

    def check_parameters(self, values: dict[str, Any]) -> None:
        """What a policy server cannot do is refused before anything moves."""
        check_remote(values)

    def diagnostic_values(self) -> Mapping[str, object]:
        """Counters, and what is known of a policy server."""
        return {**super().diagnostic_values(), **({} if self._host is None else self._host.figures())}

    def parameters_changed(self, names: set[str]) -> None:
        """A fake model can be told to fail while it runs."""
        if self._host is not None and any(name.startswith("fake_") for name in names):
            self._host.retell()

    def announce(self) -> None:
        """Publish the contract; again and again, as a latched sample can reach a late reader after seconds."""
        self._outputs.announce(self._served.model.contract)
        is_shown = time.monotonic() - self._refused_s <= _REFUSAL_SHOWN_S
        if self.active and self.status[0] in (State.READY, State.HOLDING) and not is_shown:
            self._say_ready()

    def _say_ready(self) -> None:
        """READY, unless the words of the task are some that the model cannot take, or its server is gone."""
        if (outage := self._served.outage()) is not None:
            self.set_state(State.HOLDING, *outage)
        elif self._words_refused:
            self.set_state(State.HOLDING, Reason.BAD_MESSAGE, self._words_refused)
        else:
            self.set_state(State.READY)

    # ---- callbacks: short, the work is done elsewhere ----------------------------------------------------------------

    def on_instruction(self, msg: String) -> None:
        """Say at once that the model cannot take these words, before anything moves."""
        try:
            self._served.backend.check_instruction(check_instruction(msg.data))
            self._words_refused = ""
        except InstructionError:
            return  # observation_node refuses them for everybody
        except ObservationError as error:
            self.counters["instruction_bad"] += 1
            self._words_refused = str(error)
        if self.active and self.status[0] in (State.READY, State.HOLDING):
            self._say_ready()

    def on_observation(self, msg: ObservationMsg) -> None:
        """Take an observation; a newer one displaces one that waits."""
        if not self.active or self._worker is None:
            return
        stamp, now_s, arrived_s = to_stamp(msg.stamp), time.monotonic(), time.perf_counter()
        if not self._newest.is_newer(stamp, now_s):
            self.counters["observation_old"] += 1
            return
        try:
            job = Job(stamp, msg.kind != Request.ACT, to_observation(msg), msg, arrived_s)
            self._served.backend.spec.check(job.observation)
        except ValueError as error:
            self._refuse("observation_bad", Reason.BAD_MESSAGE, str(error))
            return
        self._newest.accept(stamp, now_s)
        if not self._worker.put(job):
            self.counters["observation_dropped"] += 1

    def _refuse(self, counter: str, reason: Reason, detail: str) -> None:
        self.counters[counter] += 1
        self._refused_s = time.monotonic()
        self.set_state(State.HOLDING, reason, detail)

    # ---- the thread that works ---------------------------------------------------------------------------------------

    def serve(self, job: Job) -> None:
        """Work on one observation, unless the model has failed too often."""
        host, worker = self._served, self._worker
        if worker is None:
            return
        if host.failures >= self.param("max_failures"):
            self.counters["observation_refused"] += 1
            return
        try:
            with host.turn:
                is_served = self._propose(job, host, worker)
        except ObservationError as error:
            self._refuse("observation_bad", Reason.BAD_MESSAGE, str(error))
            return
        except UnavailableError as error:
            # Nothing is wrong with the model: it is asked again as soon as its server is there.
            self._refuse("observation_unanswered", error.reason, error.detail)
            return
        except Exception as error:
            host.failures += 1
            self.counters["model_failures"] += 1
            again = "" if host.failures < self.param("max_failures") else "; not tried again until activated anew"
            text = f"{type(error).__name__}: {error} ({host.failures} in a row{again})"
            raise ReasonedError(Reason.MODEL_FAILURE, text) from error
        host.failures = 0
        if is_served:
            self._say_ready()

    def _propose(self, job: Job, host: ModelHost, worker: ProposalWorker) -> bool:
        backend, times = host.backend, job.msg.times
        began_s = time.perf_counter()
        times.queue_s = began_s - job.arrived_s
        context = backend.prefix(job.observation)
        features = checked_features(backend, context)
        times.prefix_s = time.perf_counter() - began_s
        is_steered = self._noise.expect(job.stamp)
        self._outputs.publish_features(job.msg, features, noise_expected=is_steered)
        began_s = time.perf_counter()
        draw = self._noise.draw(backend.spec, job.msg.request, job.stamp.sequence, is_steered=is_steered)
        times.noise_s = time.perf_counter() - began_s
        if worker.is_displaced(job):
            self.counters["observation_superseded"] += 1
            return False
        began_s = time.perf_counter()
        chunks = checked_chunks(backend, context, draw.noise, self._old_chunk(job, host))
        times.denoise_s = time.perf_counter() - began_s
        self._outputs.publish_proposal(job.msg, features, chunks, draw)
        self.counters["proposals"] += 1
        return True

    def _old_chunk(self, job: Job, host: ModelHost) -> ChunkPrefix | None:
        if self.param("execution") != "rtc":
            return None
        return to_chunk_prefix(job.msg, host.backend.spec, self.param("rtc_beta"))


def main() -> None:
    """Entry point."""
    run(VlaNode)
