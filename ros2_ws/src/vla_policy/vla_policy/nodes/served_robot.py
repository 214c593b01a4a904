# SPDX-License-Identifier: Apache-2.0
"""One robot that a model serves: what it says, what it is told, and how it is with it."""

from __future__ import annotations

import time
from collections.abc import Callable

from std_msgs.msg import String
from vla_interfaces.msg import Observation as ObservationMsg
from vla_interfaces.msg import Request

from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.protocol import ObservationError, UnavailableError
from vla_policy.nodes.convert import to_chunk_prefix, to_observation
from vla_policy.nodes.model_host import ModelHost
from vla_policy.nodes.proposal_noise import ProposalNoise
from vla_policy.nodes.proposal_worker import Job
from vla_policy.nodes.vla_outputs import VlaOutputs
from whetstone_common.core.epochs import NewestStamp
from whetstone_common.core.instruction import InstructionError, check_instruction
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_stamp
from whetstone_common.nodes.robot_view import Side

# A refusal is shown for so long; no episode begins meanwhile, and without one no good observation would end it.
_REFUSAL_SHOWN_S = 2.0


class ServedRobot:
    """Takes the observations of one robot, and keeps what concerns no other.

    Args:
        side: The node, or its view of this robot.
        host: The model.
        offer: Hands a job to the thread that works; False when it, or the one that waited, is dropped.

    Attributes:
        name: Of the robot among those that are served.
        noise: Of its proposals.
        outputs: What it is told.
        failures: Of the model with its observations, in a row.
    """

    def __init__(self, side: Side, host: ModelHost, offer: Callable[[Job], bool]) -> None:
        self._side, self._host, self._offer = side, host, offer
        self.name = side.get_namespace()
        self.failures = 0
        self._newest = NewestStamp()
        self._refused_s = 0.0
        self._words_refused = ""
        self.outputs = VlaOutputs(side, host.model.contract)
        self.noise = ProposalNoise(side, self.refuse)
        self.noise.listen()
        side.create_subscription(String, "instruction", self.on_instruction, qos.LATCHED)
        side.create_subscription(ObservationMsg, "observation", self.on_observation, qos.RING)

    def announce(self) -> None:
        """Publish the contract, and end a refusal that was shown for long enough."""
        self.outputs.announce(self._host.model.contract)
        is_shown = time.monotonic() - self._refused_s <= _REFUSAL_SHOWN_S
        if self._side.active and self._side.status[0] in (State.READY, State.HOLDING) and not is_shown:
            self.say_ready()

    def say_ready(self) -> None:
        """READY, unless the words of the task are some that the model cannot take, or its server is gone."""
        if (outage := self._host.outage()) is not None:
            self._side.set_state(State.HOLDING, *outage)
        elif self._words_refused:
            self._side.set_state(State.HOLDING, Reason.BAD_MESSAGE, self._words_refused)
        else:
            self._side.set_state(State.READY)

    def refuse(self, counter: str, reason: Reason, detail: str) -> None:
        """Say what cannot be used, and hold for a moment."""
        self._side.counters[counter] += 1
        self._refused_s = time.monotonic()
        self._side.set_state(State.HOLDING, reason, detail)

    # ---- callbacks: short, the work is done elsewhere ----------------------------------------------------------------

    def on_instruction(self, msg: String) -> None:
        """Say at once that the model cannot take these words, before anything moves."""
        try:
            self._host.backend.check_instruction(check_instruction(msg.data))
            self._words_refused = ""
        except InstructionError:
            return  # observation_node refuses them for everybody
        except ObservationError as error:
            self._side.counters["instruction_bad"] += 1
            self._words_refused = str(error)
        if self._side.active and self._side.status[0] in (State.READY, State.HOLDING):
            self.say_ready()

    def on_observation(self, msg: ObservationMsg) -> None:
        """Take an observation; a newer one displaces one that waits."""
        if not self._side.active:
            return
        stamp, now_s, arrived_s = to_stamp(msg.stamp), time.monotonic(), time.perf_counter()
        if not self._newest.is_newer(stamp, now_s):
            self._side.counters["observation_old"] += 1
            return
        try:
            job = Job(self, stamp, msg.kind != Request.ACT, to_observation(msg), msg, arrived_s)
            self._host.backend.spec.check(job.observation)
        except ValueError as error:
            self.refuse("observation_bad", Reason.BAD_MESSAGE, str(error))
            return
        self._newest.accept(stamp, now_s)
        if not self._offer(job):
            self._side.counters["observation_dropped"] += 1

    # ---- in the thread that works ------------------------------------------------------------------------------------

    def is_given_up(self) -> bool:
        """Whether the model has failed too often with this robot's observations; counted as refused then."""
        if self.failures < self._side.param("max_failures"):
            return False
        self._side.counters["observation_refused"] += 1
        return True

    def old_chunk(self, job: Job) -> ChunkPrefix | None:
        """What is left of the chunk that plays, None where none does or it does not matter."""
        if self._side.param("execution") != "rtc":
            return None
        return to_chunk_prefix(job.msg, self._host.backend.spec, self._side.param("rtc_beta"))

    def superseded(self) -> None:
        """A newer observation waits: the result would be thrown away."""
        self.failures = 0
        self._side.counters["observation_superseded"] += 1

    def served(self) -> None:
        """A proposal was published."""
        self.failures = 0
        self._side.counters["proposals"] += 1
        self.say_ready()

    def failed(self, error: Exception) -> None:
        """No proposal: say what is wrong with the observation, or with the model."""
        if isinstance(error, ObservationError):
            self.refuse("observation_bad", Reason.BAD_MESSAGE, str(error))
            return
        if isinstance(error, UnavailableError):
            # Nothing is wrong with the model: it is asked again as soon as its server is there.
            self.refuse("observation_unanswered", error.reason, error.detail)
            return
        self.failures += 1
        self._side.counters["model_failures"] += 1
        again = "" if self.failures < self._side.param("max_failures") else "; not tried again until activated anew"
        text = f"{type(error).__name__}: {error} ({self.failures} in a row{again})"
        self._side.fail("serve", ReasonedError(Reason.MODEL_FAILURE, text))
