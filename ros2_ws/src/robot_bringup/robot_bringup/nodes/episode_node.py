# SPDX-License-Identifier: Apache-2.0
"""Runs episodes: reset, instruct, run, judge, repeat."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.duration import Duration
from std_msgs.msg import Float32, String
from vla_interfaces.action import RunEpisodes
from vla_interfaces.msg import EpisodeEvent, Executed, NodeStatus, PolicyContract, Reward, TaskTruth
from vla_interfaces.srv import Arm, Pause, Reset, Resume, SetInstruction, SimReset

from robot_bringup.core.episodes import Outcome, Plan, Record, Run, Verdict, plans_of
from robot_bringup.core.health import Health
from robot_bringup.core.judges import Event, Mark, Panel, Settings, Step, Truth
from robot_bringup.nodes import episode_convert as convert
from robot_bringup.nodes.waiting import Aborted, Cancelled, Driver, Waiter
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_ns, to_time
from whetstone_common.nodes.main import run as run_node
from whetstone_common.nodes.node import WhetstoneNode

_NS_PER_S = 1e9
_WAKE_PERIOD_S = 0.1
_FEEDBACK_PERIOD_S = 0.2
# A person put the scene back.
_READY_WORDS = ("ready", "reset")
# How long subscribers may take to acknowledge the instruction.
_ACK_TIMEOUT_S = 5.0


@dataclass
class _Live:
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


def _steps_of(event: Event, live: _Live) -> int:
    """Steps of the episode that an event tells of, -1 for none."""
    if isinstance(event, Truth):
        return event.tick - live.start_tick if event.reset_id == live.reset_id else -1
    return event.steps if isinstance(event, Step) else -1


class EpisodeNode(WhetstoneNode):
    """Action server `run_episodes`; one goal at a time."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        super().__init__("episode_node", package="robot_bringup", **kwargs)
        self._live: _Live | None = None
        self._goal: Any = None
        self._run: Run | None = None
        self._truth: Truth | None = None
        self._contract: PolicyContract | None = None
        self._ready_marked = False
        self._heard_all = False
        self._feedback_s = 0.0
        self._end: tuple[str, RunEpisodes.Result] | None = None
        self._server: ActionServer | None = None

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def on_setup(self) -> None:
        """Create publishers, subscriptions, clients."""
        self._health = Health(self.param("watched_nodes"), self.param("silent_after_s"))
        self._driver: Driver[tuple[str, RunEpisodes.Result]] = Driver()
        self._waiter = Waiter(self._check_goal, self._driver.step)
        arm = self.param("arm_name")
        self._arm = self.create_client(Arm, f"{arm}/arm")
        self._reset = self.create_client(Reset, f"{arm}/reset")
        self._resume = self.create_client(Resume, f"{arm}/resume")
        self._pause = self.create_client(Pause, f"{arm}/pause")
        self._sim_reset = self.create_client(SimReset, "/sim/reset") if self.param("sim_reset") else None
        self._instruction = self.create_publisher(String, "instruction", qos.LATCHED)
        self._events = self.create_publisher(EpisodeEvent, "episode", qos.RECORD)
        self._rewards = self.create_publisher(Reward, "reward", qos.RECORD)
        # Where the simulator counts the ticks, the arm's own count would only cost time.
        steps = (
            (TaskTruth, "/sim/truth", self._on_truth, qos.RECORD)
            if "sim_truth" in self.param("reward_sources")
            else (Executed, "executed", self._on_executed, qos.RECORD)
        )
        for kind, topic, callback, profile in (
            steps,
            (NodeStatus, "node_status", self._on_status, qos.RECORD),
            (PolicyContract, "policy_contract", self._on_contract, qos.LATCHED),
            (String, "mark", self._on_mark, qos.RING),
            (Float32, "success_score", self._on_score, qos.RING),
        ):
            self.create_subscription(kind, topic, callback, profile)
        self.create_steady_timer(_WAKE_PERIOD_S, self._on_wake)

    def on_start(self) -> None:
        """Offer the action and the service."""
        self._server = ActionServer(
            self,
            RunEpisodes,
            "run_episodes",
            execute_callback=self._execute,
            handle_accepted_callback=self.guarded(self._on_accepted),
            goal_callback=self.guarded(self._on_goal),
            cancel_callback=self.guarded(self._on_cancel),
        )
        self._service = self.create_service(SetInstruction, "~/set_instruction", self._on_set_instruction)
        self.set_state(State.READY)

    def on_stop(self) -> None:
        """Withdraw the action."""
        self._goal = self._live = None
        if "_driver" in self.__dict__:
            self._driver.drop()
        if self._server is not None:
            self._server.destroy()
            self._server = None
            self.destroy_service(self._service)

    def on_teardown(self) -> None:
        """Drop the clients; everything else that was set up goes by itself."""
        for name in ("_arm", "_reset", "_resume", "_pause", "_sim_reset"):
            client = self.__dict__.pop(name, None)
            if client is not None:
                self.destroy_client(client)

    def safe_action(self, reason: Reason) -> None:
        """Ask the arm to hold; whoever drives it may not be there any more."""
        pause = self.__dict__.get("_pause")
        if self._live is not None and self._live.resumed and pause is not None and pause.service_is_ready():
            pause.call_async(Pause.Request(reason=f"episode_node: {reason.name}"))

    # ---- inputs ----------------------------------------------------------------------------------------------------

    def _on_wake(self) -> None:
        """Lets the run see its deadlines."""
        self._driver.step()

    def _observe(self, event: Event) -> None:
        live = self._live
        if live is None or live.panel is None:
            return
        live.panel.observe(event)
        if (steps := _steps_of(event, live)) > live.steps:
            live.steps = steps
            live.progressed_s = time.monotonic()
        self._driver.step()

    def _on_truth(self, msg: TaskTruth) -> None:
        self._truth = convert.truth_of(msg)
        self._observe(self._truth)

    def _on_executed(self, msg: Executed) -> None:
        live = self._live
        if live is not None and (msg.stamp.epoch, msg.stamp.episode) == (live.epoch, live.episode):
            self._observe(convert.step_of(msg))

    def _on_status(self, msg: NodeStatus) -> None:
        try:
            report = convert.report_of(msg, time.monotonic())
        except ValueError:
            self.counters["bad_message"] += 1
            return
        self._health.update(msg.node, report)
        self._driver.step()

    def _on_contract(self, msg: PolicyContract) -> None:
        self._contract = msg

    def _on_mark(self, msg: String) -> None:
        mark: Mark = convert.mark_of(msg, self._now_ns())
        self._ready_marked = self._ready_marked or mark.word in _READY_WORDS
        self._observe(mark)
        self._driver.step()

    def _on_score(self, msg: Float32) -> None:
        self._observe(convert.score_of(msg, self._now_ns()))

    def _on_set_instruction(
        self, request: SetInstruction.Request, response: SetInstruction.Response
    ) -> SetInstruction.Response:
        if not request.instruction.strip():
            response.message = "an empty instruction means nothing"
            return response
        self._instruction.publish(String(data=request.instruction))
        response.success = True
        return response

    # ---- the goal --------------------------------------------------------------------------------------------------

    def _on_goal(self, goal: RunEpisodes.Goal) -> GoalResponse:
        if self._goal is not None or goal.episodes < 1:
            self.counters["goal_refused"] += 1
            self.get_logger().warning("goal refused: another one runs, or it asks for no episode")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_cancel(self, _goal: Any) -> CancelResponse:
        return CancelResponse.ACCEPT

    def _on_accepted(self, goal: Any) -> None:
        def finish(end: tuple[str, RunEpisodes.Result]) -> None:
            self._goal = self._live = None
            if self.status[0] is State.RUNNING:
                self.set_state(State.READY)
            self._end = end
            goal.execute()

        self._driver.start(self._work(goal), finish)

    def _execute(self, goal: Any) -> RunEpisodes.Result:
        """Hand over the result of a run that has ended; the goal counts as accepted until then."""
        how, result = self._end
        {"succeed": goal.succeed, "abort": goal.abort, "canceled": goal.canceled}[how]()
        return result

    def _check_goal(self) -> None:
        if self._goal is not None and self._goal.is_cancel_requested:
            raise Cancelled
        self._feedback()

    async def _work(self, goal: Any) -> tuple[str, RunEpisodes.Result]:
        request = goal.request
        run = Run(
            plans_of(
                task=request.task or self.param("task"),
                episodes=request.episodes,
                first_seed=request.first_seed,
                max_steps=request.max_steps or self.param("max_steps"),
                instruction=request.instruction,
                other_words=request.other_words,
                manual_reset=request.manual_reset or not self.param("sim_reset"),
            ),
            self.param("max_consecutive_aborts"),
        )
        self._goal, self._run = goal, run
        self.set_state(State.RUNNING)
        try:
            return await self._episodes(run)
        except Exception as error:  # noqa: BLE001 - boundary of the run: the arm must hold and the client must hear
            self.fail("run_episodes", error)
            return "abort", convert.to_result(run, f"episode_node failed: {error}")

    async def _episodes(self, run: Run) -> tuple[str, RunEpisodes.Result]:
        while (plan := run.next_plan) is not None:
            self._live = _Live(plan, len(run.records) + 1)
            self._ready_marked = False
            try:
                verdict = await self._episode(self._live)
            except Cancelled:
                await self._finish(self._live, self._abort(self._live, "cancelled"), run)
                return "canceled", convert.to_result(run, "cancelled")
            await self._finish(self._live, verdict, run)
        return ("abort" if run.hopeless else "succeed"), convert.to_result(run, run.message)

    # ---- one episode -----------------------------------------------------------------------------------------------

    async def _episode(self, live: _Live) -> Verdict:
        try:
            await self._wait_for_nodes(live)
            await self._reset_scene(live)
            self._say(live.instruction)
            await self._let_go(live)
            return await self._watch(live)
        except Aborted as reason:
            return self._abort(live, str(reason))

    def _abort(self, live: _Live, reason: str) -> Verdict:
        return Verdict(Outcome.ABORTED, live.steps, self._now_ns(), "episode_node", reason)

    async def _wait_for_nodes(self, live: _Live) -> None:
        timeout_s = self.param("recovery_timeout_s" if self._heard_all else "startup_timeout_s")
        await self._waiter.until(
            lambda: not self._health.missing(time.monotonic()),
            timeout_s,
            lambda: self._health.missing(time.monotonic()),
        )
        self._heard_all = True
        await self._check_policy(timeout_s)
        self._health.begin_episode()
        await self._ready_the_arm(live)

    async def _check_policy(self, timeout_s: float) -> None:
        """Refuse a policy that was not made for the task."""
        wanted = {name: self.param(name) for name in ("action_space", "horizon") if self.param(name)}
        if not wanted:
            return
        await self._waiter.until(lambda: self._contract is not None, timeout_s, "no policy_contract yet")
        served = {name: getattr(self._contract, name) for name in wanted}
        if served != wanted:
            raise Aborted(f"the task wants {wanted}, the served policy has {served}")

    async def _ready_the_arm(self, live: _Live) -> None:
        """Reset a stopped arm where that is ours to do; arm it."""
        report = self._health.report(self.param("arm_name"))
        if report is not None and report.state is State.STOPPED and report.reason is not Reason.DISARMED:
            if not self.param("auto_reset"):
                raise Aborted(f"{self.param('arm_name')} is {report.text}: reset it first")
            try:
                await self._waiter.call(self._reset, Reset.Request(), self.param("service_timeout_s"))
            except Aborted as error:
                # A status may be older than the state; whether the arm is ready shows below.
                self.get_logger().warning(str(error))
        response = await self._waiter.call(self._arm, Arm.Request(), self.param("service_timeout_s"))
        live.epoch = int(response.epoch)
        # The status travels apart from the answer; an old STOPPED must not end the new episode.
        await self._waiter.until(
            lambda: not self._health.problem(time.monotonic()),
            self.param("service_timeout_s"),
            lambda: self._health.problem(time.monotonic()),
        )

    async def _reset_scene(self, live: _Live) -> None:
        plan = live.plan
        if plan.manual_reset or self._sim_reset is None:
            await self._waiter.until(
                lambda: self._ready_marked, self.param("manual_reset_timeout_s"), 'no mark "reset" from the operator'
            )
            live.instruction = plan.instruction or self.param("instruction")
            live.start_ns = self._now_ns()
            return
        request = SimReset.Request(task=plan.task, seed=plan.seed)
        response = await self._waiter.call(self._sim_reset, request, self.param("service_timeout_s"))
        own = response.other_instruction if plan.other_words else response.instruction
        live.instruction = plan.instruction or own
        live.reset_id = int(response.reset_id)
        live.start_ns = to_ns(response.stamp)

    def _say(self, instruction: str) -> None:
        """Publish the instruction, and wait until it has arrived: the policy must not start with the old one."""
        if not instruction.strip():
            raise Aborted("there is no instruction: give one with the goal, or set the parameter")
        self._instruction.publish(String(data=instruction))
        if not self._instruction.wait_for_all_acked(Duration(seconds=_ACK_TIMEOUT_S)):
            raise Aborted(f"the instruction was not acknowledged within {_ACK_TIMEOUT_S:g} s")

    async def _let_go(self, live: _Live) -> None:
        known = self._truth is not None and self._truth.reset_id == live.reset_id
        live.start_tick = self._truth.tick if known and self._truth is not None else 0
        live.panel = Panel(
            self.param("reward_sources"),
            Settings(
                max_steps=live.plan.max_steps,
                reset_id=live.reset_id,
                start_tick=live.start_tick,
                threshold=self.param("score_threshold"),
                consecutive=self.param("score_consecutive"),
            ),
        )
        live.progressed_s = time.monotonic()
        # From here on the arm may move, whatever becomes of the answer.
        live.resumed = True
        request = Resume.Request(seed=live.plan.seed, max_steps=live.plan.max_steps, not_before=to_time(live.start_ns))
        response = await self._waiter.call(self._resume, request, self.param("service_timeout_s"))
        live.epoch, live.episode = int(response.epoch), int(response.episode)
        live.phase = "running"
        self._publish_event(live, EpisodeEvent.STARTED, None, 0.0)

    async def _watch(self, live: _Live) -> Verdict:
        assert live.panel is not None  # noqa: S101 - for the type checker; _let_go made it
        panel = live.panel

        def over() -> bool:
            now_s = time.monotonic()
            if panel.verdict is not None:
                return True
            if problem := self._health.problem(now_s):
                raise Aborted(problem)
            if now_s - live.progressed_s > self.param("stall_timeout_s"):
                raise Aborted(self._stall(live))
            return False

        await self._waiter.until(over, float("inf"), "")
        assert panel.verdict is not None  # noqa: S101
        return panel.verdict

    def _stall(self, live: _Live) -> str:
        report = self._health.report(self.param("arm_name"))
        state = f", {self.param('arm_name')} is {report.text}" if report else ""
        return f"no step for {self.param('stall_timeout_s'):g} s after step {live.steps}{state}"

    async def _finish(self, live: _Live, verdict: Verdict, run: Run) -> None:
        """Hold the arm, then tell everyone; nothing of the episode moves after its end event."""
        live.phase = "judging"
        if live.resumed:
            await self._hold(f"episode {verdict.outcome.text}")
        duration_s = max(0.0, (verdict.end_ns - live.start_ns) / _NS_PER_S) if live.start_ns else 0.0
        run.records.append(Record(live.plan, verdict, duration_s))
        self.counters[verdict.outcome.text] += 1
        if live.episode:
            if verdict.outcome is not Outcome.ABORTED:
                self._rewards.publish(convert.to_reward(verdict, live.epoch, live.episode))
            self._publish_event(live, int(verdict.outcome), verdict, duration_s)
        line = f"episode {live.number} seed {live.plan.seed}: {verdict.outcome.text} after {verdict.steps} steps"
        self.get_logger().info(f"{line} {verdict.reason}".rstrip())
        self._feedback(force=True)

    async def _hold(self, reason: str) -> None:
        """Pause the arm; an arm that is gone cannot be asked, and its own watchdog holds it."""
        if not self._pause.service_is_ready():
            return
        future = self._pause.call_async(Pause.Request(reason=reason))
        future.add_done_callback(lambda _future: self._driver.step())
        # A cancelled goal must still hold the arm, so this wait does not look at the goal.
        waiter = Waiter(lambda: None, self._driver.step)
        try:
            await waiter.until(future.done, self.param("service_timeout_s"), "the arm did not answer the pause")
        except Aborted as error:
            self.counters["pause_unanswered"] += 1
            self.get_logger().error(str(error))

    # ---- outputs ---------------------------------------------------------------------------------------------------

    def _publish_event(self, live: _Live, event: int, verdict: Verdict | None, duration_s: float) -> None:
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

    def _feedback(self, *, force: bool = False) -> None:
        now_s = time.monotonic()
        live, goal = self._live, self._goal
        if live is None or goal is None or (not force and now_s - self._feedback_s < _FEEDBACK_PERIOD_S):
            return
        self._feedback_s = now_s
        successes = self._run.successes if self._run is not None else 0
        goal.publish_feedback(
            RunEpisodes.Feedback(episode=live.number, successes=successes, step=live.steps, phase=live.phase)
        )

    def _now_ns(self) -> int:
        """Time of the newest tick; without a simulator, of the clock."""
        live, truth = self._live, self._truth
        if live is not None and live.reset_id and truth is not None and truth.reset_id == live.reset_id:
            return truth.stamp_ns
        return int(self.get_clock().now().nanoseconds)


def main() -> None:
    """Entry point."""
    run_node(EpisodeNode)
