# SPDX-License-Identifier: Apache-2.0
"""One episode: wait for nodes, reset the scene, publish the instruction, start the policy, detect success, hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from vla_interfaces.msg import EpisodeEvent, PolicyContract
from vla_interfaces.srv import Arm, Pause, Reset, Resume, SimReset

from robot_operation.core.episodes import EpisodePlan, EpisodeRecord, EpisodeResult
from robot_operation.core.health import Health
from robot_operation.core.holding import HoldLimits, HoldTimes
from robot_operation.core.marks import Mark
from robot_operation.core.success_detection import (
    DetectorPanel,
    DetectorSettings,
    Event,
    MarkEvent,
    StepCount,
    TruthSample,
)
from robot_operation.nodes.episode_context import EpisodeContext
from robot_operation.nodes.episode_instruction import EpisodeInstruction
from robot_operation.nodes.episode_record_publisher import EpisodeRecordPublisher
from robot_operation.nodes.episode_services import EpisodeServices
from robot_operation.nodes.waiting import Aborted, Waiter
from whetstone_common.core.contract import NO_CONTRACT
from whetstone_common.core.enums import EpisodePhase, Outcome
from whetstone_common.core.instruction import InstructionError, check_instruction
from whetstone_common.core.reason import Reason, State, cause
from whetstone_common.nodes.convert import to_ns, to_time
from whetstone_common.nodes.node import WhetstoneNode

_NS_PER_S = 1e9
# How long subscribers may take to acknowledge the instruction, and the observer to use it.
_ACK_TIMEOUT_S = 5.0


def _steps_of(event: Event, context: EpisodeContext) -> int:
    """Steps of the episode that an event tells of, -1 for none."""
    if isinstance(event, TruthSample):
        return event.tick - context.start_tick if event.reset_id == context.reset_id else -1
    return event.steps if isinstance(event, StepCount) else -1


class EpisodeRunner:
    """Runs one episode after the other, with the services of the arm and the simulator.

    Attributes:
        context: The episode in progress, None between goals.
        truth: Newest truth of the simulator.
        contract: Of the served policy.
        instruction: What the policy is told, and what it is shown.
    """

    def __init__(self, node: WhetstoneNode, health: Health, waiter: Waiter, wake: Callable[[], None]) -> None:
        """Create clients and publishers.

        Args:
            node: Whose parameters, counters and clock are used.
            health: Of the nodes that an episode needs.
            waiter: Ends every wait when the goal is cancelled.
            wake: Lets the run check whether it can go on.
        """
        self._node, self._health, self._waiter, self._wake = node, health, waiter, wake
        self._services = EpisodeServices(node)
        self.instruction = EpisodeInstruction(node, health)
        self._records = EpisodeRecordPublisher(node, health, wake)
        self.context: EpisodeContext | None = None
        self.truth: TruthSample | None = None
        self.contract: PolicyContract | None = None
        self._heard_all = False

    def close(self) -> None:
        """Drop the clients; publishers go with the node's set-up."""
        self._services.close()

    def begin(self, plan: EpisodePlan, number: int) -> EpisodeContext:
        """The next episode's turn."""
        self.context = EpisodeContext(plan, number)
        return self.context

    async def run(self, context: EpisodeContext) -> EpisodeResult:
        """Run an episode to its result."""
        try:
            await self._wait_for_nodes(context)
            await self._reset_scene(context)
            await self._instruct(context)
            await self._wait_until_well()
            await self._start_policy(context)
            return await self._watch(context)
        except Aborted as reason:
            return self.abort(context, str(reason))

    def check_abort(self) -> None:
        """End the episode's turn if the operator aborts before the policy starts.

        Raises:
            Aborted: They do.
        """
        if self.context is not None and self.context.is_abort_marked:
            raise Aborted("aborted by the operator before it began")

    def abort(self, context: EpisodeContext, reason: str) -> EpisodeResult:
        """Result of an episode that could not go on."""
        return EpisodeResult(Outcome.ABORTED, context.steps, self.now_ns(), "episode_node", reason)

    def on_mark(self, mark: Mark) -> None:
        """The operator has marked something."""
        if self.context is not None and mark is Mark.RESET:
            self.context.is_scene_reset = True
        self.observe(MarkEvent(mark, self.now_ns()))

    def observe(self, event: Event) -> None:
        """Pass an event to the success detectors."""
        context = self.context
        if context is None:
            return
        if context.detectors is None:
            context.is_abort_marked |= isinstance(event, MarkEvent) and event.mark is Mark.ABORT
            return
        context.detectors.observe(event)
        if (steps := _steps_of(event, context)) > context.steps:
            context.steps = steps
            context.progressed_s = time.monotonic()
        self._wake()

    def ask_to_hold(self, reason: Reason) -> None:
        """Ask the arm to hold without waiting; whoever drives it may not be there any more."""
        if self.context is not None and self.context.resumed and self._services.pause.service_is_ready():
            self._services.pause.call_async(Pause.Request(reason=f"{self._node.get_name()}: {cause(reason)}"))

    # ---- before it ---------------------------------------------------------------------------------------------------

    async def _wait_for_nodes(self, context: EpisodeContext) -> None:
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
        await self._ready_the_arm(context)

    def _missing(self, now_s: float) -> str:
        """What keeps an episode from starting: a node, or a recorder that does not receive all of it."""
        return self._health.missing(now_s) or self._records.missing(now_s)

    async def _check_policy(self, timeout_s: float) -> None:
        """Refuse a policy that was not made for the task."""
        required = {name: self._node.param(name) for name in ("action_space", "horizon") if self._node.param(name)}
        if not required:
            return
        await self._waiter.until(lambda: self.contract is not None, timeout_s, NO_CONTRACT)
        served = {name: getattr(self.contract, name) for name in required}
        if served != required:
            raise Aborted(f"the task wants {required}, the served policy has {served}")

    async def _ready_the_arm(self, context: EpisodeContext) -> None:
        """Reset a stopped arm where that is ours to do; arm it."""
        report = self._health.report(self._node.param("arm_name"))
        if report is not None and report.state is State.STOPPED and report.reason is not Reason.DISARMED:
            if not self._node.param("auto_reset"):
                raise Aborted(f"{self._node.param('arm_name')} is {report.text}: reset it first")
            try:
                await self._waiter.call(self._services.reset, Reset.Request(), self._node.param("service_timeout_s"))
            except Aborted as error:
                # A status may be older than the state; whether the arm is ready shows below.
                self._node.get_logger().warning(str(error))
        response = await self._waiter.call(self._services.arm, Arm.Request(), self._node.param("service_timeout_s"))
        context.epoch = int(response.epoch)
        # The status travels apart from the answer; an old STOPPED must not end the new episode.
        await self._waiter.until(
            lambda: not self._health.problem(time.monotonic()),
            self._node.param("service_timeout_s"),
            lambda: self._health.problem(time.monotonic()),
        )

    async def _reset_scene(self, context: EpisodeContext) -> None:
        plan = context.plan
        if plan.manual_reset or self._services.sim_reset is None:
            await self._waiter.until(
                lambda: context.is_scene_reset,
                self._node.param("manual_reset_timeout_s"),
                'no mark "reset" from the operator',
            )
            context.instruction = plan.instruction or self._node.param("instruction")
            context.start_ns = self.now_ns()
            return
        request = SimReset.Request(task=plan.task, seed=plan.seed)
        response = await self._waiter.call(self._services.sim_reset, request, self._node.param("service_timeout_s"))
        own = response.other_instruction if plan.other_instruction else response.instruction
        context.instruction = plan.instruction or own
        context.reset_id = int(response.reset_id)
        context.start_ns = to_ns(response.stamp)

    async def _instruct(self, context: EpisodeContext) -> None:
        """Publish the instruction, and wait until it is the one in use: the policy must not start with an old one."""
        if not context.instruction.strip():
            raise Aborted("there is no instruction: give one with the goal, or set the parameter")
        try:
            context.instruction = check_instruction(context.instruction)
        except InstructionError as error:
            raise Aborted(str(error)) from error
        self.instruction.publish(context.instruction)
        if not self.instruction.is_acknowledged(_ACK_TIMEOUT_S):
            raise Aborted(f"the instruction was not acknowledged within {_ACK_TIMEOUT_S:g} s")
        await self._waiter.until(
            lambda: not self.instruction.problem(context.instruction),
            _ACK_TIMEOUT_S,
            lambda: f"not begun: {self.instruction.problem(context.instruction)}",
        )

    async def _wait_until_well(self) -> None:
        """Refuse to begin while a node holds: what it waits for has been reset and said by now."""
        await self._waiter.until(
            lambda: not self._health.unready(),
            self._node.param("hold_timeout_s"),
            lambda: f"not begun: {self._health.unready()}",
        )

    async def _start_policy(self, context: EpisodeContext) -> None:
        is_current = self.truth is not None and self.truth.reset_id == context.reset_id
        context.start_tick = self.truth.tick if is_current and self.truth is not None else 0
        context.detectors = DetectorPanel(
            self._node.param("reward_sources"),
            DetectorSettings(
                max_steps=context.plan.max_steps,
                reset_id=context.reset_id,
                start_tick=context.start_tick,
                threshold=self._node.param("score_threshold"),
                consecutive=self._node.param("score_consecutive"),
            ),
        )
        context.progressed_s = time.monotonic()
        # From here on the arm may move, whatever becomes of the answer.
        context.resumed = True
        request = Resume.Request(
            seed=context.plan.seed, max_steps=context.plan.max_steps, not_before=to_time(context.start_ns)
        )
        response = await self._waiter.call(self._services.resume, request, self._node.param("service_timeout_s"))
        context.epoch, context.episode = int(response.epoch), int(response.episode)
        context.holds = HoldTimes(self._episode_s(context))
        context.phase = EpisodePhase.RUNNING
        self._records.publish_event(context, EpisodeEvent.STARTED, None, 0.0)

    # ---- while it runs ----------------------------------------------------------------------------------------------

    async def _watch(self, context: EpisodeContext) -> EpisodeResult:
        detectors, holds = context.detectors, context.holds
        assert detectors is not None and holds is not None  # noqa: S101 - for the type checker; _start_policy made them

        def over() -> bool:
            now_s = time.monotonic()
            holds.update(self._episode_s(context), self._health.holding())
            if problem := self.instruction.problem(context.instruction):
                raise Aborted(problem)
            if detectors.result is not None:
                return True
            if problem := self._health.problem(now_s) or holds.problem(self._hold_limits):
                raise Aborted(problem)
            if now_s - context.progressed_s > self._node.param("stall_timeout_s"):
                raise Aborted(self._stall(context))
            return False

        await self._waiter.until(over, float("inf"), "")
        assert detectors.result is not None  # noqa: S101
        if detectors.result.outcome is not Outcome.ABORTED and (blind := holds.result_problem(self._hold_limits)):
            raise Aborted(blind)
        # Who aborts does not count; the steps were executed all the same.
        return (
            replace(detectors.result, steps=context.steps)
            if detectors.result.outcome is Outcome.ABORTED
            else detectors.result
        )

    @property
    def _hold_limits(self) -> HoldLimits:
        return HoldLimits(self._node.param("hold_timeout_s"), self._node.param("hold_max_share"))

    def _episode_s(self, context: EpisodeContext) -> float:
        """The episode's time: ticks where a simulator counts them, else the steady clock."""
        if not context.reset_id:
            return time.monotonic()
        is_current = self.truth is not None and self.truth.reset_id == context.reset_id
        return (self.truth.stamp_ns if is_current and self.truth is not None else context.start_ns) / _NS_PER_S

    def _stall(self, context: EpisodeContext) -> str:
        holding = self._health.holding()
        if not holding and (report := self._health.report(self._node.param("arm_name"))):
            holding = {self._node.param("arm_name"): report.text}
        states = "".join(f", {name} is {text}" for name, text in holding.items())
        return f"no step for {self._node.param('stall_timeout_s'):g} s after step {context.steps}{states}"

    # ---- after it ----------------------------------------------------------------------------------------------------

    async def finish(self, context: EpisodeContext, result: EpisodeResult) -> EpisodeRecord:
        """Hold the arm, then tell everyone; nothing of the episode moves after its end event."""
        context.phase = EpisodePhase.JUDGING
        if context.resumed:
            await self._hold(f"episode {result.outcome.text}")
        duration_s = max(0.0, (result.end_ns - context.start_ns) / _NS_PER_S) if context.start_ns else 0.0
        self._node.counters[result.outcome.text] += 1
        if context.episode:
            if result.outcome is not Outcome.ABORTED:
                self._records.publish_reward(context, result)
            self._records.publish_event(context, int(result.outcome), result, duration_s)
        line = f"episode {context.number} seed {context.plan.seed}: {result.outcome.text} after {result.steps} steps"
        self._node.get_logger().info(f"{line} {result.reason}".rstrip())
        return EpisodeRecord(context.plan, result, duration_s)

    async def _hold(self, reason: str) -> None:
        """Pause the arm; an arm that is gone cannot be asked, and its own watchdog holds it."""
        if not self._services.pause.service_is_ready():
            return
        future = self._services.pause.call_async(Pause.Request(reason=reason))
        future.add_done_callback(lambda _future: self._wake())
        # A cancelled goal must still hold the arm, so this wait does not look at the goal.
        waiter = Waiter(lambda: None, self._wake)
        try:
            await waiter.until(future.done, self._node.param("service_timeout_s"), "the arm did not answer the pause")
        except Aborted as error:
            self._node.counters["pause_unanswered"] += 1
            self._node.get_logger().error(str(error))

    def now_ns(self) -> int:
        """Time of the newest tick; without a simulator, of the clock."""
        context, truth = self.context, self.truth
        if context is not None and context.reset_id and truth is not None and truth.reset_id == context.reset_id:
            return truth.stamp_ns
        return int(self._node.get_clock().now().nanoseconds)
