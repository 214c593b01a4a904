# SPDX-License-Identifier: Apache-2.0
"""Commands of the page in control as services, marks and goals of the stack that runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from action_msgs.srv import CancelGoal
from rclpy.action import ActionClient
from vla_interfaces.action import RunEpisodes
from vla_interfaces.msg import EpisodeMark
from vla_interfaces.srv import Arm, Disarm, Pause, PinPolicy, Query, Reset, SetInstruction

from operator_console.core.commands import Command, CommandRefusedError
from operator_console.web.interface import PolicyTrial
from robot_operation.core.marks import Mark
from robot_operation.nodes.mark_convert import to_mark_message
from whetstone_common.core.enums import Outcome
from whetstone_common.core.instruction import InstructionError, check_instruction
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode

_MARKS = {
    Command.SUCCESS: Mark.SUCCESS,
    Command.FAILURE: Mark.FAILURE,
    Command.SCENE_RESET: Mark.RESET,
    Command.ABORT: Mark.ABORT,
}
_WHO = "operator console"
_NO_EPISODES = "there is no action run_episodes: episode_node is not there"
Answer = Future[str]


class Commander:
    """Carries commands out; its methods are called by the executor alone.

    Args:
        node: Of the console.
        note: Is told what became of a goal.
    """

    def __init__(self, node: WhetstoneNode, note: Callable[[str], None]) -> None:
        self._node, self._note = node, note
        self._marks = node.create_publisher(EpisodeMark, "mark", qos.RING)
        self._clients: dict[Command, tuple[Any, Callable[[str], Any]]] = {
            Command.ARM: self._service(Arm, "arm_node/arm", lambda _: Arm.Request()),
            Command.DISARM: self._service(Disarm, "arm_node/disarm", lambda _: Disarm.Request(reason=_WHO)),
            Command.RESET: self._service(Reset, "arm_node/reset", lambda _: Reset.Request()),
            Command.HOLD: self._service(Pause, "arm_node/pause", lambda _: Pause.Request(reason=_WHO)),
            Command.INSTRUCT: self._service(
                SetInstruction,
                "episode_node/set_instruction",
                lambda words: SetInstruction.Request(instruction=check_instruction(words)),
            ),
            Command.PIN_POLICY: self._service(
                PinPolicy, "steering_node/pin_policy", lambda words: PinPolicy.Request(version=_version(words))
            ),
        }
        self._cancel = node.create_client(CancelGoal, "run_episodes/_action/cancel_goal")
        self._episodes = ActionClient(node, RunEpisodes, "run_episodes")
        self._queries = node.create_client(Query, "arm_node/query")
        self._started = 0

    def _service(self, kind: Any, name: str, request: Callable[[str], Any]) -> tuple[Any, Callable[[str], Any]]:
        return self._node.create_client(kind, name), request

    def close(self) -> None:
        """Drop clients; publishers go with the node's set-up."""
        for client, _ in self._clients.values():
            self._node.destroy_client(client)
        self._node.destroy_client(self._cancel)
        self._node.destroy_client(self._queries)
        self._episodes.destroy()

    def do(self, command: Command, words: str, answer: Answer) -> None:
        """Carry a command out.

        Args:
            command: One of those that are no matter of the console itself.
            words: Instruction of an episode, or of the policy, empty for the task's; or the version of its weights.
            answer: Gets what was answered, or why it was refused.
        """
        try:
            if command in _MARKS:
                self._mark(_MARKS[command], answer)
            elif command is Command.START_EPISODES:
                self._start(words, answer)
            elif command is Command.CANCEL_EPISODES:
                self._cancel_all(answer)
            else:
                client, request = self._clients[command]
                self._call(client, request(words), answer)
        except (CommandRefusedError, InstructionError) as error:
            answer.set_exception(CommandRefusedError(str(error)))

    def ask_policy(self, trial: PolicyTrial, answer: Answer) -> None:
        """Ask what the policy would do here; `answer` gets that it was asked, or why it was refused."""
        request = Query.Request(seed=trial.seed, n_candidates=trial.n_candidates, edit_scale=trial.edit_scale)
        try:
            self._call(self._queries, request, answer)
        except CommandRefusedError as error:
            answer.set_exception(error)

    def _mark(self, mark: Mark, answer: Answer) -> None:
        if not self._marks.get_subscription_count():
            raise CommandRefusedError("nobody listens to marks: episode_node is not there")
        self._marks.publish(to_mark_message(mark, self._node))
        answer.set_result(f"marked: {mark.value}")

    def _call(self, client: Any, request: Any, answer: Answer, on_done: Callable[[Any], str] | None = None) -> None:
        if not client.service_is_ready():
            raise CommandRefusedError(f"there is no service {client.srv_name}: its node is not there")

        def finish(future: Any) -> None:
            if answer.done():
                return
            response = future.result()
            if on_done is not None:
                answer.set_result(on_done(response))
            elif response.success:
                answer.set_result(response.message or "done")
            else:
                answer.set_exception(CommandRefusedError(response.message or "refused"))

        client.call_async(request).add_done_callback(finish)

    def _start(self, words: str, answer: Answer) -> None:
        if not self._episodes.server_is_ready():
            raise CommandRefusedError(_NO_EPISODES)
        instruction = check_instruction(words) if words else ""
        self._send_goal(self._started, instruction, answer, self._note)
        self._started += 1  # another scene each time

    def _send_goal(self, seed: int, instruction: str, answer: Answer, on_end: Callable[[str], None]) -> None:
        goal = RunEpisodes.Goal(
            task=self._node.param("task"),
            episodes=1,
            first_seed=seed,
            instruction=instruction,
            # The goal is cancelled, and the arm holds, when this process dies.
            client=self._node.get_fully_qualified_name(),
        )
        self._episodes.send_goal_async(goal).add_done_callback(lambda future: _accepted(future, answer, on_end))

    def start_episode(self, seed: int, answer: Answer, on_end: Callable[[str], None]) -> None:
        """Start one episode in the scene of a seed.

        Args:
            seed: Of the scene.
            answer: Gets that it was accepted, or why not.
            on_end: Is told how it ended.
        """
        if not self._episodes.server_is_ready():
            answer.set_exception(CommandRefusedError(_NO_EPISODES))
            return
        self._send_goal(seed, "", answer, on_end)

    def _cancel_all(self, answer: Answer) -> None:
        # A request without goal and time means all goals, whoever sent them.
        self._call(
            self._cancel,
            CancelGoal.Request(),
            answer,
            lambda response: f"goals cancelled: {len(response.goals_canceling)}",
        )


def _accepted(future: Any, answer: Answer, on_end: Callable[[str], None]) -> None:
    handle = future.result()
    if not handle.accepted:
        answer.set_exception(CommandRefusedError("episode_node refused: other episodes run; cancel them first"))
        return
    answer.set_result("accepted")
    handle.get_result_async().add_done_callback(lambda done: on_end(_result_text(done.result().result)))


def _version(words: str) -> int:
    """Version of the small policies' weights, 0 for the newest.

    Raises:
        CommandRefusedError: It is none.
    """
    if not (words.isascii() and words.isdigit() and int(words) < 2**63):
        raise CommandRefusedError(f"version {words!r}: allowed are whole numbers, 0 for the newest")
    return int(words)


def _result_text(result: RunEpisodes.Result) -> str:
    outcomes = ", ".join(Outcome(outcome).text for outcome in result.outcomes) or "no episode"
    return f"{outcomes}{f' ({result.message})' if result.message else ''}"
