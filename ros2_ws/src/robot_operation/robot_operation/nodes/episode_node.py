# SPDX-License-Identifier: Apache-2.0
"""Runs episodes: reset, instruct, run, judge, repeat."""

from __future__ import annotations

import time
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from std_msgs.msg import Float32, String
from vla_interfaces.action import RunEpisodes
from vla_interfaces.msg import EpisodeMark, Executed, NodeStatus, PolicyContract, TaskTruth
from vla_interfaces.srv import SetInstruction

from robot_operation.core.episodes import SEED_BOUND, EpisodePlan, EpisodeResult, EpisodeRun, plans_of
from robot_operation.core.health import Health
from robot_operation.nodes import episode_convert as convert
from robot_operation.nodes.episode_context import EpisodeContext
from robot_operation.nodes.episode_runner import EpisodeRunner
from robot_operation.nodes.goal_client import GoalClient
from robot_operation.nodes.mark_convert import mark_of
from robot_operation.nodes.waiting import Cancelled, Driver, Waiter
from whetstone_common.core.instruction import InstructionError, check_instruction
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.main import run as run_node
from whetstone_common.nodes.node import WhetstoneNode

_WAKE_PERIOD_S = 0.1
_FEEDBACK_PERIOD_S = 0.2
_CLIENT_PERIOD_S = 1.0
# How long a client may ask for the result of a goal.
_RESULT_TIMEOUT_S = 600
_OPERATOR = "operator_node"


class EpisodeNode(WhetstoneNode):
    """Action server `run_episodes`; one goal at a time."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        super().__init__("episode_node", package="robot_operation", **kwargs)
        self._goal: Any = None
        self._client: GoalClient | None = None
        self._run: EpisodeRun | None = None
        self._feedback_s = 0.0
        self._end: tuple[str, RunEpisodes.Result] | None = None
        self._server: ActionServer | None = None

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Refuse a malformed instruction.

        Raises:
            ParameterError: They are not.
        """
        try:
            if values["instruction"]:
                check_instruction(values["instruction"])
        except InstructionError as error:
            raise ParameterError(f"instruction: {error}") from error

    def on_setup(self) -> None:
        """Create publishers, subscriptions, clients."""
        silent_after_s, storage = self.param("silent_after_s"), self.param("storage_nodes")
        self._health = Health(self._needed_nodes(), silent_after_s, storage=storage, arm=self.param("arm_name"))
        self._driver: Driver[tuple[str, RunEpisodes.Result]] = Driver()
        self._waiter = Waiter(self._check_goal, self._driver.step)
        self._runner = EpisodeRunner(self, self._health, self._waiter, self._driver.step)
        # Where the simulator counts the ticks, the arm's own count would only cost time.
        steps = (
            (TaskTruth, "sim/truth", self._on_truth, qos.RECORD)
            if "sim_truth" in self.param("reward_sources")
            else (Executed, "executed", self._on_executed, qos.RECORD)
        )
        for kind, topic, callback, profile in (
            steps,
            (NodeStatus, "node_status", self._on_status, qos.RECORD),
            (PolicyContract, "policy_contract", self._on_contract, qos.LATCHED),
            (String, "instruction_in_use", self._on_instruction_in_use, qos.LATCHED),
            (EpisodeMark, "mark", self._on_mark, qos.RING),
            (Float32, "success_score", self._on_score, qos.RING),
        ):
            self.create_subscription(kind, topic, callback, profile)
        self.watch_input("mark", EpisodeMark, qos.RING)
        self.create_steady_timer(_CLIENT_PERIOD_S, self._on_client_timer)
        self.create_steady_timer(_WAKE_PERIOD_S, self._on_wake)

    def _needed_nodes(self) -> list[str]:
        """Nodes that an episode needs: those of the graph, and the operator's where one was asked for."""
        operator = [] if self.param("operator") == "none" else [_OPERATOR]
        return [*self.param("watched_nodes"), *operator]

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
            result_timeout=_RESULT_TIMEOUT_S,
        )
        self._service = self.create_service(SetInstruction, "~/set_instruction", self._on_set_instruction)
        self.set_state(State.READY)

    def on_stop(self) -> None:
        """Withdraw the action."""
        self._goal = None
        if "_runner" in self.__dict__:
            self._runner.context = None
            self._driver.drop()
        if self._server is not None:
            self._server.destroy()
            self._server = None
            self.destroy_service(self._service)

    def on_teardown(self) -> None:
        """Drop the clients; everything else that was set up goes by itself."""
        if (runner := self.__dict__.pop("_runner", None)) is not None:
            runner.close()

    def safe_action(self, reason: Reason) -> None:
        """Ask the arm to hold; whoever drives it may not be there any more."""
        if (runner := self.__dict__.get("_runner")) is not None:
            runner.ask_to_hold(reason)

    # ---- inputs ----------------------------------------------------------------------------------------------------

    def _on_wake(self) -> None:
        """Lets the run see its deadlines."""
        self._driver.step()

    def _on_client_timer(self) -> None:
        """Cancel a goal whose client has died: nobody would hear its result, and nobody could stop it."""
        if self._client is None or not self._client.is_gone():
            return
        self._client = None
        self.counters["goals_without_client"] += 1
        self._driver.throw(Cancelled("the client of the goal has gone"))

    def _on_truth(self, msg: TaskTruth) -> None:
        self._runner.truth = convert.truth_of(msg)
        self._runner.observe(self._runner.truth)

    def _on_executed(self, msg: Executed) -> None:
        context = self._runner.context
        if context is not None and (msg.stamp.epoch, msg.stamp.episode) == (context.epoch, context.episode):
            self._runner.observe(convert.step_of(msg))

    def _on_status(self, msg: NodeStatus) -> None:
        try:
            report = convert.report_of(msg, time.monotonic())
        except ValueError:
            self.counters["bad_message"] += 1
            return
        self._health.update(msg.node, report)
        self._driver.step()

    def _on_contract(self, msg: PolicyContract) -> None:
        self._runner.contract = msg

    def _on_instruction_in_use(self, msg: String) -> None:
        self._runner.instruction.in_use = msg.data
        self._driver.step()

    def _on_mark(self, msg: EpisodeMark) -> None:
        try:
            mark = mark_of(msg)
        except ValueError as error:
            self.counters["bad_message"] += 1
            self.get_logger().warning(str(error))
            return
        self._runner.on_mark(mark)
        self._driver.step()

    def _on_score(self, msg: Float32) -> None:
        self._runner.observe(convert.score_of(msg, self._runner.now_ns()))

    def _on_set_instruction(
        self, request: SetInstruction.Request, response: SetInstruction.Response
    ) -> SetInstruction.Response:
        if self._goal is not None:
            response.message = (
                "episodes run with instructions of their own: cancel them, or give the instruction with the next goal"
            )
            return response
        try:
            self._runner.instruction.publish(check_instruction(request.instruction))
        except InstructionError as error:
            response.message = str(error)
            return response
        response.success = True
        return response

    # ---- the goal --------------------------------------------------------------------------------------------------

    def _on_goal(self, goal: RunEpisodes.Goal) -> GoalResponse:
        if self._goal is not None or goal.episodes < 1 or goal.first_seed + goal.episodes > SEED_BOUND:
            self.counters["goal_refused"] += 1
            self.get_logger().warning(
                f"goal refused: another one runs, or {goal.episodes} episodes from seed {goal.first_seed} are none, or "
                f"end above the last seed, {SEED_BOUND - 1}"
            )
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_cancel(self, _goal: Any) -> CancelResponse:
        return CancelResponse.ACCEPT

    def _on_accepted(self, goal: Any) -> None:
        def finish(end: tuple[str, RunEpisodes.Result]) -> None:
            self._goal = self._client = self._runner.context = None
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
            raise Cancelled("cancelled")
        self._runner.check_abort()
        self._feedback()

    async def _work(self, goal: Any) -> tuple[str, RunEpisodes.Result]:
        try:
            run = EpisodeRun(self._plans(goal.request), self.param("max_consecutive_aborts"))
        except ValueError as error:
            self.counters["goal_refused"] += 1
            self.get_logger().warning(f"goal refused: {error}")
            return "abort", convert.to_result(EpisodeRun([]), str(error))
        self._goal, self._run = goal, run
        if self.param("cancel_without_client"):
            self._client = GoalClient(self, "run_episodes", goal.request.client)
        self.set_state(State.RUNNING)
        try:
            return await self._episodes(run, goal)
        except Exception as error:  # noqa: BLE001 - boundary of the run: the arm must hold and the client must hear
            self.fail("run_episodes", error)
            return "abort", convert.to_result(run, f"episode_node failed: {error}")

    def _plans(self, request: RunEpisodes.Goal) -> list[EpisodePlan]:
        """Plans of a goal; ValueError when it asks for what cannot be."""
        return plans_of(
            task=request.task or self.param("task"),
            episodes=request.episodes,
            first_seed=request.first_seed,
            max_steps=request.max_steps or self.param("max_steps"),
            instruction=check_instruction(request.instruction) if request.instruction else "",
            other_instruction=request.other_instruction,
            manual_reset=request.manual_reset or not self.param("sim_reset"),
            evaluation=request.evaluation,
        )

    async def _episodes(self, run: EpisodeRun, goal: Any) -> tuple[str, RunEpisodes.Result]:
        while (plan := run.next_plan) is not None:
            context = self._runner.begin(plan, len(run.records) + 1)
            try:
                result = await self._runner.run(context)
            except Cancelled as why:
                await self._finish(context, self._runner.abort(context, str(why)), run)
                # Only a goal whose client asked for it may end as cancelled.
                return ("canceled" if goal.is_cancel_requested else "abort"), convert.to_result(run, str(why))
            await self._finish(context, result, run)
        return ("abort" if run.hopeless else "succeed"), convert.to_result(run, run.message)

    async def _finish(self, context: EpisodeContext, result: EpisodeResult, run: EpisodeRun) -> None:
        run.records.append(await self._runner.finish(context, result))
        self._feedback(force=True)

    # ---- outputs ---------------------------------------------------------------------------------------------------

    def _feedback(self, *, force: bool = False) -> None:
        now_s = time.monotonic()
        context, goal = self._runner.context, self._goal
        if context is None or goal is None or (not force and now_s - self._feedback_s < _FEEDBACK_PERIOD_S):
            return
        self._feedback_s = now_s
        successes = self._run.successes if self._run is not None else 0
        goal.publish_feedback(
            RunEpisodes.Feedback(
                episode=context.number, successes=successes, step=context.steps, phase=int(context.phase)
            )
        )


def main() -> None:
    """Entry point."""
    run_node(EpisodeNode)
