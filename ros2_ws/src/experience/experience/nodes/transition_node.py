# SPDX-License-Identifier: Apache-2.0
"""Joins what happened into transitions, stores them, and sees that the learner gets each of them once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from std_msgs.msg import Bool
from vla_interfaces.msg import Decision, EpisodeEvent, Executed, PolicyContract, Reward, Transition, TransitionAck
from vla_interfaces.srv import FetchTransitions

from experience.core.codec import CodecError, EarlierReleaseError, decode
from experience.core.delivery import AckResult, Delivery
from experience.core.episode import Rules
from experience.core.join import Joiner
from experience.core.ledger import EpisodeEntry
from experience.core.spool import Full, Spool, SpoolLimits, WhenFull
from experience.core.spool.writer import Writer
from experience.nodes import convert
from experience.nodes.known_sources import NO_EPOCH, KnownSources
from experience.nodes.runs import check_run, folder_of
from experience.nodes.storage_status import StoragePublisher
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_contract
from whetstone_common.nodes.estop import estop_topics
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.progress import Progress

_PERIOD_S = 0.05
_CLOSE_TIMEOUT_S = 5.0
_WARN_PERIOD_S = 10.0
# Bounds of what one turn of the timer, or one answer, takes out of the spool.
_TURN_COUNT, _TURN_BYTES = 16, 2 << 20
_PAGE_BYTES = 8 << 20
_FULL_REASONS = {Full.BOUND: Reason.SPOOL_FULL, Full.DISK: Reason.DISK_FULL}


class TransitionNode(WhetstoneNode):
    """Decisions, executed steps, rewards and episodes in; transitions out."""

    close_limit_s = 8.0  # what waits goes to the disk first

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        self._spool: Spool | None = None
        self._writer: Writer | None = None
        super().__init__("transition_node", package="experience", **kwargs)

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Refuse a run that is no folder's name, and bounds that contradict each other.

        Raises:
            ParameterError: The set as a whole makes no sense.
        """
        check_run(values["run"])
        try:
            _limits(values)
        except ValueError as error:
            raise ParameterError(f"segment_mb, max_spool_mb: {error}") from error

    def on_setup(self) -> None:
        """Open the spool and connect."""
        folder = folder_of(self.param("directory"), self.param("run")) / "transitions"
        with Progress(self) as progress:
            progress.begin("opening the spool")
            self._spool = Spool(folder, _limits(self.parameter_values), identity=self.epoch_ns)
        self._check_release(self._spool)
        self._warned = 0
        self._warn_of_losses(self._spool)
        self._writer = Writer(self._spool, lambda error: self.fail("spool", error))
        self._joiner = self._make_joiner(self._spool)
        self._delivery = Delivery(
            self.param("run"),
            self._spool.identity,
            in_flight=self.param("in_flight"),
            resend_s=self.param("resend_s"),
            acknowledged=self._spool.acknowledged,
        )
        self._transitions = self.create_publisher(Transition, "transition", qos.RECORD)
        for kind, topic, callback, profile in (
            (PolicyContract, "policy_contract", self.on_contract, qos.LATCHED),
            (Decision, "decision", self.on_decision, qos.RECORD),
            (Executed, "executed", self.on_executed, qos.RECORD),
            (Reward, "reward", self.on_reward, qos.RECORD),
            (EpisodeEvent, "episode", self.on_episode, qos.RECORD),
            *((Bool, topic, self.on_estop, profile) for topic in estop_topics(self) for profile in qos.ESTOP),
            (TransitionAck, "transition_ack", self.on_ack, qos.RECORD),
        ):
            self.create_subscription(kind, topic, callback, profile)
        self._heard = KnownSources(self, self.param("run"))
        self._storage = StoragePublisher(self, self.param("run"))
        self.create_service(FetchTransitions, "~/fetch_transitions", self.on_fetch)
        self.create_steady_timer(_PERIOD_S, self.turn)

    def _check_release(self, spool: Spool) -> None:
        """Refuse to go on with a run of an earlier release, whose transitions no learner takes."""
        for record in spool.read(spool.last - 1, 1, _PAGE_BYTES) if spool.last else ():
            try:
                decode(record.payload)
            except EarlierReleaseError as error:
                raise ReasonedError(Reason.BAD_PARAMETER, f"run {self.param('run')!r}: {error}") from error
            except CodecError:
                continue  # a damaged record is passed over, and counted where it is read

    def _make_joiner(self, spool: Spool) -> Joiner:
        recorded = [EpisodeEntry.from_bytes(note.payload).key for note in spool.notes()]
        rules = Rules(
            window_steps=self.param("window_steps"),
            keep_aborted=self.param("keep_aborted"),
            lockstep=self.param("pace") == "lockstep",
        )
        return Joiner(
            rules, grace_s=self.param("episode_grace_s"), max_steps=self.param("max_episode_steps"), recorded=recorded
        )

    def on_start(self) -> None:
        """Begin to collect."""
        self._show()

    def on_stop(self) -> None:
        """Book the episodes that are cut short."""
        if self._writer is not None:
            for batch in self._joiner.give_up("transition_node stopped"):
                self._writer.put(batch)

    def on_teardown(self) -> None:
        """Store what waits and close the spool."""
        if self._writer is not None and not self._writer.close(_CLOSE_TIMEOUT_S):
            self.get_logger().error("the disk did not take the last episodes in time")
        if self._spool is not None:
            self._spool.close()
        self._writer = self._spool = None

    def parameters_changed(self, names: set[str]) -> None:
        """Take over what may change while running."""
        if self._spool is not None:
            self._spool.limits = _limits(self.parameter_values)
            self._joiner.grace_s = self.param("episode_grace_s")
            self._delivery.in_flight = self.param("in_flight")
            self._delivery.resend_s = self.param("resend_s")

    # ---- inputs ----------------------------------------------------------------------------------------------------

    def on_contract(self, msg: PolicyContract) -> None:
        """Learn what the numbers mean: without it, episodes that end wait, and the oldest are dropped."""
        self._take(lambda: self._joiner.on_contract(to_contract(msg)))
        self._hear("policy_contract", NO_EPOCH)

    def on_decision(self, msg: Decision) -> None:
        """Take a decision, or the hello of who decides."""
        if msg.stamp.episode == 0:
            self._hear("decision", msg.stamp.epoch)
            return
        self._take(lambda: self._joiner.on_decision(convert.to_decision(msg), time.monotonic()))

    def on_executed(self, msg: Executed) -> None:
        """Take an executed step, or the arm's hello."""
        self._hear("executed", msg.stamp.epoch)
        if msg.stamp.episode == 0:
            if self.active and msg.stamp.request_id == 0:
                self._joiner.on_hello(msg.stamp.epoch, msg.stamp.sequence, time.monotonic())
            return
        self._take(lambda: self._joiner.on_step(convert.to_step(msg), time.monotonic()))

    def on_reward(self, msg: Reward) -> None:
        """Take a reward, or the hello of who judges."""
        if msg.stamp.episode == 0:
            self._hear("reward", msg.stamp.epoch)
            return
        self._take(lambda: self._joiner.on_reward(convert.to_reward(msg), time.monotonic()))

    def on_episode(self, msg: EpisodeEvent) -> None:
        """Take the start or the end of an episode, or the hello of who runs them."""
        if msg.episode == 0:
            self._hear("episode", msg.epoch)
            return
        self._take(lambda: self._joiner.on_event(convert.to_event(msg), time.monotonic()))

    def on_estop(self, msg: Bool) -> None:
        """Mark what is being recorded."""
        if msg.data:
            self._joiner.on_estop()

    def _hear(self, topic: str, epoch: int) -> None:
        if self.active:
            self._heard.note(topic, epoch)

    def _take(self, action: Callable[[], None]) -> None:
        if not self.active:
            return
        try:
            action()
        except ValueError as error:
            self.counters["bad_message"] += 1
            self.get_logger().warning(f"refused: {error}", throttle_duration_sec=_WARN_PERIOD_S)

    # ---- to the learner ----------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Store what is complete, send what is due."""
        if not self.active or self._spool is None or self._writer is None:
            return
        self._heard.turn(time.monotonic())
        for batch in self._joiner.collect(time.monotonic()):
            self._writer.put(batch)
        self._send(self._spool)
        self._show()

    def _send(self, spool: Spool) -> None:
        if self._transitions.get_subscription_count() == 0:
            return
        after, count = self._delivery.next(spool.first, spool.last, time.monotonic())
        if count <= 0:
            return
        for record in spool.read(after, min(count, _TURN_COUNT), _TURN_BYTES):
            self._transitions.publish(self._message(spool, record))
            self._delivery.published(record.seq)
            self.counters["transitions_published"] += 1

    def _message(self, spool: Spool, record: Any) -> Transition:
        return convert.from_transition(decode(record.payload), self.param("run"), spool.identity, record.seq)

    def on_ack(self, msg: TransitionAck) -> None:
        """Take the learner's word."""
        if self._spool is None or self._writer is None:
            return
        ack = convert.to_ack(msg)
        result = self._delivery.on_ack(ack, self._spool.last, time.monotonic())
        self.counters[result.value] += 1
        if result is AckResult.TAKEN:
            self._spool.acknowledge(ack.through)
        elif result is AckResult.IMPOSSIBLE:
            self._writer.skip_to(ack.through)

    def on_fetch(
        self, request: FetchTransitions.Request, response: FetchTransitions.Response
    ) -> FetchTransitions.Response:
        """Answer with a page."""
        spool = self._spool
        if spool is None or request.run not in ("", self.param("run")):
            response.message = f"this is run {self.param('run')!r}, not {request.run!r}"
            return response
        most = self.param("page_count")
        count = min(request.max_count, most) if request.max_count else most
        last = spool.last  # before the page is read: what is stored meanwhile is not lost
        records = spool.read(request.after, count, _PAGE_BYTES)
        response.run, response.spool = self.param("run"), spool.identity
        response.first, response.last = spool.first, last
        response.transitions = [self._message(spool, record) for record in records]
        response.success = True
        return response

    # ---- status ------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        spool, writer = self._spool, self._writer
        if spool is None or writer is None or self.status[0] is State.ERROR:
            return
        for source in (self._joiner.counters, writer.counters, spool.counters):
            for name, value in source.items():
                self.counters[name] = value
        self._warn_of_losses(spool)
        self.counters["transitions"] = spool.last
        self.counters["acknowledged"] = self._delivery.acknowledged
        self.counters["resends"] = self._delivery.resends
        self._show_storage(spool, writer)
        if writer.full is not None:
            self.set_state(State.HOLDING, _FULL_REASONS[writer.full.why], str(writer.full))
        elif self._joiner.refused:
            self.set_state(State.HOLDING, Reason.EPISODE_REFUSED, self._joiner.refusal)
        else:
            damaged = spool.damaged_records
            self.set_state(State.READY, detail=f"{damaged} stored records are damaged" if damaged else "")

    def _show_storage(self, spool: Spool, writer: Writer) -> None:
        self._storage.show(
            time.monotonic(),
            episodes_stored=writer.counters["episodes_stored"],
            episodes_lost=writer.counters["episodes_without_room"] + self._joiner.counters["episodes_dropped"],
            records=spool.last,
            records_damaged=spool.damaged_records,
            records_acknowledged=self._delivery.acknowledged,
        )

    def _warn_of_losses(self, spool: Spool) -> None:
        """Name what was found damaged, once; its bytes stay where they are."""
        losses, self._warned = spool.lost[self._warned :], len(spool.lost)
        for loss in losses:
            self.get_logger().warning(f"{spool.folder}: {loss}")


def _limits(values: Mapping[str, Any]) -> SpoolLimits:
    mega = 1_000_000
    return SpoolLimits(
        max_bytes=int(values["max_spool_mb"] * mega),
        segment_bytes=int(values["segment_mb"] * mega),
        min_free_bytes=int(values["min_free_mb"] * mega),
        when_full=WhenFull(values["when_full"]),
        keep_acknowledged=values["keep_acknowledged"],
    )


def main() -> None:
    """Run the node."""
    run(TransitionNode)
