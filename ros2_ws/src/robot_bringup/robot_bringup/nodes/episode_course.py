# SPDX-License-Identifier: Apache-2.0
"""The course of one episode: nodes ready, scene reset, instruction said, arm let go, watched, held, judged, told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.duration import Duration
from std_msgs.msg import String
from vla_interfaces.msg import EpisodeEvent, PolicyContract, RecordsHeard, Reward
from vla_interfaces.msg import Stamp as StampMsg
from vla_interfaces.srv import Arm, Pause, Reset, Resume, SimReset

from robot_bringup.core.episodes import Outcome, Plan, Record, Verdict
from robot_bringup.core.health import Health
from robot_bringup.core.holding import HoldLimits, HoldTimes
from robot_bringup.core.judges import Event, Panel, Settings, Step, Truth
from robot_bringup.core.recorder_ears import RecorderEars, Source
from robot_bringup.nodes import episode_convert as convert
from robot_bringup.nodes.waiting import Aborted, Waiter
from whetstone_common.core.instruction import InstructionError, check_instruction, shown
from whetstone_common.core.reason import Reason, State, cause
from whetstone_common.nodes import graph, qos
from whetstone_common.nodes.convert import to_ns, to_time
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.record_source import RecordSource

_NS_PER_S = 1e9
# Nodes that must be heard by whoever stores what is learnt from, and who that is.
_DECIDER, _RECORDER = "steering_node", "transition_node"
# Who shows the instruction to the policy.
_OBSERVER = "observation_node"
# How long subscribers may take to acknowledge the instruction, and the observer to use it.
_ACK_TIMEOUT_S = 5.0


@dataclass
class Live:
    """The episode in progress."""

    plan: Plan
    number: int
    phase: str = "resetting"
    instruction: str = ""
    epoch: int = 0
    episode: int = 0
    reset_id: int = 0
    start_tick: int = 0
    start_ns: int = 0
    resumed: bool = False
    steps: int = 0
    progressed_s: float = 0.0
    panel: Panel | None = None
    holds: HoldTimes | None = None


def _steps_of(event: Event, live: Live) -> int:
    """Steps of the episode that an event tells of, -1 for none."""
    if isinstance(event, Truth):
        return event.tick - live.start_tick if event.reset_id == live.reset_id else -1
    return event.steps if isinstance(event, Step) else -1


class Course:
    """Runs one episode after the other, with the services of the arm and the simulator.

    Attributes:
        live: The episode in progress, None between goals.
        truth: Newest truth of the simulator.
        contract: Of the served policy.
        words_in_use: What the policy is shown as instruction, None when nobody has said so.
        ready_marked: A person has put the scene back since the episode's turn began.
    """

    def __init__(self, node: WhetstoneNode, health: Health, waiter: Waiter, wake: Callable[[], None]) -> None:
        """Create clients and publishers.

        Args:
            node: Whose parameters, counters and clock are used.
            health: Of the nodes that an episode needs.
            waiter: Ends every wait when the goal is cancelled.
            wake: Lets the run look whether it can go on.
        """
        self._node, self._health, self._waiter, self._wake = node, health, waiter, wake
        arm = node.param("arm_name")
        self._arm = node.create_client(Arm, f"{arm}/arm")
        self._reset = node.create_client(Reset, f"{arm}/reset")
        self._resume = node.create_client(Resume, f"{arm}/resume")
        self._pause = node.create_client(Pause, f"{arm}/pause")
        self._sim_reset = node.create_client(SimReset, "/sim/reset") if node.param("sim_reset") else None
        self._instruction = node.create_publisher(String, "instruction", qos.LATCHED)
        self._events = node.create_publisher(EpisodeEvent, "episode", qos.RECORD)
        self._rewards = node.create_publisher(Reward, "reward", qos.RECORD)
        self._ears = RecorderEars(node.param("silent_after_s"))
        node.create_subscription(RecordsHeard, "records_heard", self._on_records_heard, qos.LATCHED)
        self._source = RecordSource(node, {"reward": self._hello_reward, "episode": self._hello_event})
        self.live: Live | None = None
        self.truth: Truth | None = None
        self.contract: PolicyContract | None = None
        self.words_in_use: str | None = None
        self.ready_marked = False
        self._heard_all = False

    def close(self) -> None:
        """Drop the clients; publishers go with the node's set-up."""
        for client in (self._arm, self._reset, self._resume, self._pause, self._sim_reset):
            if client is not None:
                self._node.destroy_client(client)

    def begin(self, plan: Plan, number: int) -> Live:
        """The next episode's turn."""
        self.ready_marked = False
        self.live = Live(plan, number)
        return self.live

    async def run(self, live: Live) -> Verdict:
        """Run an episode to its verdict."""
        try:
            await self._wait_for_nodes(live)
            await self._reset_scene(live)
            await self._instruct(live)
            await self._wait_until_well()
            await self._let_go(live)
            return await self._watch(live)
        except Aborted as reason:
            return self.abort(live, str(reason))

    def abort(self, live: Live, reason: str) -> Verdict:
        """Verdict of an episode that could not go on."""
        return Verdict(Outcome.ABORTED, live.steps, self.now_ns(), "episode_node", reason)

    def observe(self, event: Event) -> None:
        """Show the judges what has happened."""
        live = self.live
        if live is None or live.panel is None:
            return
        live.panel.observe(event)
        if (steps := _steps_of(event, live)) > live.steps:
            live.steps = steps
            live.progressed_s = time.monotonic()
        self._wake()

    def ask_to_hold(self, reason: Reason) -> None:
        """Ask the arm to hold without waiting; whoever drives it may not be there any more."""
        if self.live is not None and self.live.resumed and self._pause.service_is_ready():
            self._pause.call_async(Pause.Request(reason=f"{self._node.get_name()}: {cause(reason)}"))

    def say(self, instruction: str) -> None:
        """Publish an instruction."""
        self._instruction.publish(String(data=instruction))

    # ---- before it ---------------------------------------------------------------------------------------------------

    async def _wait_for_nodes(self, live: Live) -> None:
        timeout_s = self._node.param("recovery_timeout_s" if self._heard_all else "startup_timeout_s")
        failed_s = time.monotonic() + self._node.param("failure_grace_s")

        def ready() -> bool:
            now_s = time.monotonic()
            if now_s > failed_s and (failure := self._health.failed(now_s)):
                raise Aborted(failure)
            return not self._missing(now_s)

        await self._waiter.until(ready, timeout_s, lambda: self._missing(time.monotonic()))
        self._heard_all = True
        await self._check_policy(timeout_s)
        self._health.begin_episode()
        await self._ready_the_arm(live)

    def _missing(self, now_s: float) -> str:
        """What keeps an episode from starting: a node, or a recorder that would not hear all of it."""
        if missing := self._health.missing(now_s):
            return missing
        recorder = self._health.report(_RECORDER)
        return self._ears.missing(self._sources(), recorder.epoch_ns if recorder else None, now_s)

    def _sources(self) -> dict[str, Source]:
        """Who publishes what is stored."""
        own = Source(self._node.get_name(), self._node.epoch_ns)
        # A latched sample can reach its reader after seconds; a contract has no epoch.
        sources = {"reward": own, "episode": own, "policy_contract": Source("vla_node", 0)}
        for topic, name in (("executed", self._node.param("arm_name")), ("decision", _DECIDER)):
            if report := self._health.report(name):
                sources[topic] = Source(name, report.epoch_ns)
        return sources

    def _on_records_heard(self, msg: RecordsHeard) -> None:
        heard = dict.fromkeys(zip(msg.topics, msg.source_epochs, strict=False))
        self._ears.update(msg.recorder_epoch, heard, time.monotonic())
        self._wake()

    def _hello_reward(self) -> None:
        self._rewards.publish(Reward(stamp=StampMsg(epoch=self._node.epoch_ns)))

    def _hello_event(self) -> None:
        self._events.publish(EpisodeEvent(epoch=self._node.epoch_ns, event=EpisodeEvent.HELLO))

    async def _check_policy(self, timeout_s: float) -> None:
        """Refuse a policy that was not made for the task."""
        wanted = {name: self._node.param(name) for name in ("action_space", "horizon") if self._node.param(name)}
        if not wanted:
            return
        await self._waiter.until(lambda: self.contract is not None, timeout_s, "no policy_contract yet")
        served = {name: getattr(self.contract, name) for name in wanted}
        if served != wanted:
            raise Aborted(f"the task wants {wanted}, the served policy has {served}")

    async def _ready_the_arm(self, live: Live) -> None:
        """Reset a stopped arm where that is ours to do; arm it."""
        report = self._health.report(self._node.param("arm_name"))
        if report is not None and report.state is State.STOPPED and report.reason is not Reason.DISARMED:
            if not self._node.param("auto_reset"):
                raise Aborted(f"{self._node.param('arm_name')} is {report.text}: reset it first")
            try:
                await self._waiter.call(self._reset, Reset.Request(), self._node.param("service_timeout_s"))
            except Aborted as error:
                # A status may be older than the state; whether the arm is ready shows below.
                self._node.get_logger().warning(str(error))
        response = await self._waiter.call(self._arm, Arm.Request(), self._node.param("service_timeout_s"))
        live.epoch = int(response.epoch)
        # The status travels apart from the answer; an old STOPPED must not end the new episode.
        await self._waiter.until(
            lambda: not self._health.problem(time.monotonic()),
            self._node.param("service_timeout_s"),
            lambda: self._health.problem(time.monotonic()),
        )

    async def _reset_scene(self, live: Live) -> None:
        plan = live.plan
        if plan.manual_reset or self._sim_reset is None:
            await self._waiter.until(
                lambda: self.ready_marked,
                self._node.param("manual_reset_timeout_s"),
                'no mark "reset" from the operator',
            )
            live.instruction = plan.instruction or self._node.param("instruction")
            live.start_ns = self.now_ns()
            return
        request = SimReset.Request(task=plan.task, seed=plan.seed)
        response = await self._waiter.call(self._sim_reset, request, self._node.param("service_timeout_s"))
        own = response.other_instruction if plan.other_words else response.instruction
        live.instruction = plan.instruction or own
        live.reset_id = int(response.reset_id)
        live.start_ns = to_ns(response.stamp)

    async def _instruct(self, live: Live) -> None:
        """Publish the instruction, and wait until it is the one in use: the policy must not start with an old one."""
        if not live.instruction.strip():
            raise Aborted("there is no instruction: give one with the goal, or set the parameter")
        try:
            live.instruction = check_instruction(live.instruction)
        except InstructionError as error:
            raise Aborted(str(error)) from error
        self.say(live.instruction)
        if not self._instruction.wait_for_all_acked(Duration(seconds=_ACK_TIMEOUT_S)):
            raise Aborted(f"the instruction was not acknowledged within {_ACK_TIMEOUT_S:g} s")
        await self._waiter.until(
            lambda: not self._words_problem(live), _ACK_TIMEOUT_S, lambda: f"not begun: {self._words_problem(live)}"
        )

    def _words_problem(self, live: Live) -> str:
        """How the words that the policy is shown differ from those of the episode, empty when they do not."""
        if self.words_in_use == live.instruction or not self._health.watches(_OBSERVER):
            return ""
        report = self._health.report(_OBSERVER)
        state = f", it is {report.text}" if report and not self.words_in_use else ""
        speakers = ", ".join(sorted(graph.full_name(info) for info in graph.publishers(self._node, "instruction")))
        return (
            f"{_OBSERVER} uses the instruction {shown(self.words_in_use or '')} instead of {shown(live.instruction)}"
            f"{state}; publishers of the topic: {speakers}"
        )

    async def _wait_until_well(self) -> None:
        """Refuse to begin while a node holds: what it waits for has been reset and said by now."""
        await self._waiter.until(
            lambda: not self._health.unready(),
            self._node.param("hold_timeout_s"),
            lambda: f"not begun: {self._health.unready()}",
        )

    async def _let_go(self, live: Live) -> None:
        known = self.truth is not None and self.truth.reset_id == live.reset_id
        live.start_tick = self.truth.tick if known and self.truth is not None else 0
        live.panel = Panel(
            self._node.param("reward_sources"),
            Settings(
                max_steps=live.plan.max_steps,
                reset_id=live.reset_id,
                start_tick=live.start_tick,
                threshold=self._node.param("score_threshold"),
                consecutive=self._node.param("score_consecutive"),
            ),
        )
        live.progressed_s = time.monotonic()
        # From here on the arm may move, whatever becomes of the answer.
        live.resumed = True
        request = Resume.Request(seed=live.plan.seed, max_steps=live.plan.max_steps, not_before=to_time(live.start_ns))
        response = await self._waiter.call(self._resume, request, self._node.param("service_timeout_s"))
        live.epoch, live.episode = int(response.epoch), int(response.episode)
        live.holds = HoldTimes(self._episode_s(live))
        live.phase = "running"
        self._publish_event(live, EpisodeEvent.STARTED, None, 0.0)

    # ---- while it runs ----------------------------------------------------------------------------------------------

    async def _watch(self, live: Live) -> Verdict:
        panel, holds = live.panel, live.holds
        assert panel is not None and holds is not None  # noqa: S101 - for the type checker; _let_go made them

        def over() -> bool:
            now_s = time.monotonic()
            holds.update(self._episode_s(live), self._health.holding())
            if problem := self._words_problem(live):
                raise Aborted(problem)
            if panel.verdict is not None:
                return True
            if problem := self._health.problem(now_s) or holds.problem(self._hold_limits):
                raise Aborted(problem)
            if now_s - live.progressed_s > self._node.param("stall_timeout_s"):
                raise Aborted(self._stall(live))
            return False

        await self._waiter.until(over, float("inf"), "")
        assert panel.verdict is not None  # noqa: S101
        if panel.verdict.outcome is not Outcome.ABORTED and (blind := holds.verdict_problem(self._hold_limits)):
            raise Aborted(blind)
        return panel.verdict

    @property
    def _hold_limits(self) -> HoldLimits:
        return HoldLimits(self._node.param("hold_timeout_s"), self._node.param("hold_max_share"))

    def _episode_s(self, live: Live) -> float:
        """The episode's time: ticks where a simulator counts them, else the steady clock."""
        if not live.reset_id:
            return time.monotonic()
        known = self.truth is not None and self.truth.reset_id == live.reset_id
        return (self.truth.stamp_ns if known and self.truth is not None else live.start_ns) / _NS_PER_S

    def _stall(self, live: Live) -> str:
        holding = self._health.holding()
        if not holding and (report := self._health.report(self._node.param("arm_name"))):
            holding = {self._node.param("arm_name"): report.text}
        states = "".join(f", {name} is {text}" for name, text in holding.items())
        return f"no step for {self._node.param('stall_timeout_s'):g} s after step {live.steps}{states}"

    # ---- after it ----------------------------------------------------------------------------------------------------

    async def finish(self, live: Live, verdict: Verdict) -> Record:
        """Hold the arm, then tell everyone; nothing of the episode moves after its end event."""
        live.phase = "judging"
        if live.resumed:
            await self._hold(f"episode {verdict.outcome.text}")
        duration_s = max(0.0, (verdict.end_ns - live.start_ns) / _NS_PER_S) if live.start_ns else 0.0
        self._node.counters[verdict.outcome.text] += 1
        if live.episode:
            if verdict.outcome is not Outcome.ABORTED:
                self._rewards.publish(convert.to_reward(verdict, live.epoch, live.episode))
            self._publish_event(live, int(verdict.outcome), verdict, duration_s)
        line = f"episode {live.number} seed {live.plan.seed}: {verdict.outcome.text} after {verdict.steps} steps"
        self._node.get_logger().info(f"{line} {verdict.reason}".rstrip())
        return Record(live.plan, verdict, duration_s)

    async def _hold(self, reason: str) -> None:
        """Pause the arm; an arm that is gone cannot be asked, and its own watchdog holds it."""
        if not self._pause.service_is_ready():
            return
        future = self._pause.call_async(Pause.Request(reason=reason))
        future.add_done_callback(lambda _future: self._wake())
        # A cancelled goal must still hold the arm, so this wait does not look at the goal.
        waiter = Waiter(lambda: None, self._wake)
        try:
            await waiter.until(future.done, self._node.param("service_timeout_s"), "the arm did not answer the pause")
        except Aborted as error:
            self._node.counters["pause_unanswered"] += 1
            self._node.get_logger().error(str(error))

    def _publish_event(self, live: Live, event: int, verdict: Verdict | None, duration_s: float) -> None:
        self._events.publish(
            convert.to_event(
                live.plan,
                epoch=live.epoch,
                episode=live.episode,
                event=event,
                instruction=live.instruction,
                time_ns=verdict.end_ns if verdict else live.start_ns,
                verdict=verdict,
                duration_s=duration_s,
            )
        )

    def now_ns(self) -> int:
        """Time of the newest tick; without a simulator, of the clock."""
        live, truth = self.live, self.truth
        if live is not None and live.reset_id and truth is not None and truth.reset_id == live.reset_id:
            return truth.stamp_ns
        return int(self._node.get_clock().now().nanoseconds)
