# SPDX-License-Identifier: Apache-2.0
"""Our side of the graph while a command runs: waits for nodes, runs episodes, keeps pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool
from vla_interfaces.action import RunEpisodes
from vla_interfaces.msg import EpisodeEvent, EpisodeMark, NodeStatus, StorageStatus

from robot_operation.core.marks import Mark
from robot_operation.nodes.mark_convert import to_mark_message
from whetstone_cli.cli import middleware
from whetstone_cli.cli.episode_film import EpisodeFilm, Take
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.node_states import NodeStates
from whetstone_cli.core.film import Clip
from whetstone_common.nodes import qos

_DEAD_S = 20.0
_ACCEPT_TIMEOUT_S = 60.0
_CANCEL_TIMEOUT_S = 10.0
_ENDED = (GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)
# A result follows the end of its goal within this; it is asked for so often.
_OVERDUE_S = 5.0
_ASKS = 10
_LAST_EVENT_S = 2.0


class Client:
    """Context manager around a ROS node of the command line."""

    def __init__(
        self,
        check: Callable[[], None],
        cameras: Sequence[tuple[str, str]] = (),
        takes: int = 0,
        *,
        reliable: bool = True,
        namespace: str = "",
    ) -> None:
        """Prepare.

        Args:
            check: Called again and again; raises when the stack is gone.
            cameras: Name and topic of the cameras to film.
            takes: How many episodes to keep pictures of, the last ones.
            reliable: Cameras publish reliably, as the simulator does; a real driver may not.
            namespace: In which the robot's nodes run, empty for none.
        """
        self._check, self._namespace = check, namespace
        self._states = NodeStates()
        self._film = EpisodeFilm(cameras, takes, qos.RECORD if reliable else qos.SENSOR_IN)
        self.events: list[EpisodeEvent] = []

    def __enter__(self) -> Client:
        """Join the graph of the present environment.

        Raises:
            UserError: It names a middleware that is not installed.
        """
        if problem := middleware.unknown():
            raise UserError(problem)
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node(f"whetstone_cli_{os.getpid()}", namespace=self._namespace)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._action = ActionClient(self._node, RunEpisodes, "run_episodes")
        results = RunEpisodes.Impl.GetResultService
        self._results = self._node.create_client(results, "run_episodes/_action/get_result")
        self._node.create_subscription(NodeStatus, "node_status", self._states.on_status, qos.RECORD)
        self._node.create_subscription(StorageStatus, "storage_status", self._states.on_storage, qos.RECORD)
        # Before the events: what is heard together is taken in this order, and an event ends a film.
        self._film.listen(self._node)
        self._node.create_subscription(EpisodeEvent, "episode", self._on_event, qos.RECORD)
        self._marks = self._node.create_publisher(EpisodeMark, "mark", qos.RING)
        self._engage = self._node.create_publisher(Bool, "operator/engage", qos.LATCHED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._action.destroy()
        self._node.destroy_node()
        rclpy.shutdown()

    def _on_event(self, msg: EpisodeEvent) -> None:
        if msg.event == EpisodeEvent.HELLO:
            return
        self.events.append(msg)
        self._film.on_event(msg)

    # ---- waiting ---------------------------------------------------------------------------------------------------

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Spin until a condition holds; false when it did not in time."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end_s:
                return False
            self._executor.spin_once(timeout_sec=0.05)
            self._check()
        return True

    def wait_ready(self, nodes: Sequence[str], timeout_s: float, on_wait: Callable[[str], None]) -> None:
        """Wait until the nodes work and episodes can be run.

        Raises:
            UserError: They do not in time; the text says which, in what state.
        """

        def ready() -> bool:
            waiting = [self._states.text_of(name) for name in nodes if not self._states.works(name)]
            on_wait(", ".join(waiting) or "episode_node's action")
            return not waiting and self._action.server_is_ready()

        if not self.spin_until(ready, timeout_s):
            missing = [self._states.text_of(name) for name in nodes if not self._states.works(name)]
            raise UserError(f"not ready after {timeout_s:g} s: {', '.join(missing) or 'episode_node has no action'}")

    # ---- what the nodes have said ------------------------------------------------------------------------------------

    def trouble(self) -> str:
        """Which nodes hold or have failed, and why; empty while none does."""
        return self._states.trouble()

    def failed(self, nodes: Sequence[str]) -> str:
        """Which of the nodes is in error, and why; empty when none is. It will not recover by itself."""
        return self._states.failed(nodes)

    def not_ready(self, nodes: Sequence[str]) -> str:
        """Which of the nodes is not READY, in what state and why; empty when all are."""
        return self._states.not_ready(nodes)

    def silence_s(self, node: str) -> float:
        """Seconds since a node's last word; infinite when there was none."""
        return self._states.silence_s(node)

    def epoch_of(self, node: str) -> int:
        """Which process of a node spoke last, 0 when none has."""
        return self._states.epoch_of(node)

    def storage(self, node: str) -> StorageStatus:
        """What a node has stored; all figures are 0 before it has published any."""
        return self._states.storage(node)

    # ---- doing -----------------------------------------------------------------------------------------------------

    def run_episodes(
        self, goal: RunEpisodes.Goal, on_feedback: Callable[[RunEpisodes.Feedback], None]
    ) -> RunEpisodes.Result:
        """Run a goal to its end; Ctrl-C cancels it and waits until the arm holds.

        Raises:
            UserError: The goal was refused, or episode_node has died.
        """
        goal.client = self._node.get_fully_qualified_name()
        sent = self._action.send_goal_async(goal, feedback_callback=lambda msg: on_feedback(msg.feedback))
        if not self.spin_until(sent.done, _ACCEPT_TIMEOUT_S):
            raise UserError(f"episode_node has not answered within {_ACCEPT_TIMEOUT_S:g} s")
        if not sent.result().accepted:
            raise UserError("episode_node refused the goal\n\nAnother goal may be running; wait for it or stop it.")
        handle = sent.result()
        result = handle.get_result_async()
        alive = self._watch_over("episode_node")
        try:
            self.spin_until(lambda: result.done() or handle.status in _ENDED or not alive(), float("inf"))
            ended = self._result(handle, result)
        except KeyboardInterrupt:
            handle.cancel_goal_async()
            self.spin_until(result.done, _CANCEL_TIMEOUT_S)
            raise
        # the result may be heard before the end of the last episode
        self.spin_until(lambda: not self._film.is_rolling, _LAST_EVENT_S)
        return ended

    def _watch_over(self, node: str) -> Callable[[], bool]:
        """A function that raises UserError when the node that runs a goal has died: nobody else would end the wait."""
        epoch = self.epoch_of(node)

        def alive() -> bool:
            if self.epoch_of(node) != epoch:
                raise UserError(f"{node} was restarted while it ran episodes")
            if self.silence_s(node) > _DEAD_S:
                raise UserError(f"{self._states.silence_text(node)} while it ran episodes")
            return True

        return alive

    def _result(self, handle: Any, result: Any) -> RunEpisodes.Result:
        """Result of a goal that has ended; on a crowded machine an answer may be lost, so it is asked for again."""
        for _ in range(_ASKS):
            if self.spin_until(result.done, _OVERDUE_S) and result.result().status in _ENDED:
                outcome: RunEpisodes.Result = result.result().result
                return outcome
            result = self._results.call_async(RunEpisodes.Impl.GetResultService.Request(goal_id=handle.goal_id))
        raise UserError(f"episodes have ended, but their result has not come within {_ASKS * _OVERDUE_S:g} s")

    def subscribe(self, kind: Any, topic: str, callback: Callable[[Any], None], profile: Any) -> None:
        """Listen to one more topic."""
        self._node.create_subscription(kind, topic, callback, profile)

    def call(self, kind: Any, service: str, request: Any, timeout_s: float) -> Any:
        """Answer of a service.

        Raises:
            UserError: There is none in time.
        """
        client = self._node.create_client(kind, service)
        try:
            if not self.spin_until(client.service_is_ready, timeout_s):
                raise UserError(f"there is no service {service}")
            answer = client.call_async(request)
            if not self.spin_until(answer.done, timeout_s):
                raise UserError(f"{service} has not answered within {timeout_s:g} s")
            return answer.result()
        finally:
            self._node.destroy_client(client)

    def mark(self, mark: Mark) -> None:
        """Send an operator's mark."""
        self._marks.publish(to_mark_message(mark, self._node))

    def engage(self, *, engaged: bool) -> None:
        """Tell the scripted operator to take over, or to let go."""
        self._engage.publish(Bool(data=engaged))

    def start_filming(self) -> None:
        """From now on keep pictures of the last episode."""
        self._film.start(self._node)
        self.spin_until(lambda: self._film.is_heard, _LAST_EVENT_S)

    def clips(self) -> dict[int, Clip]:
        """Pictures of the last episodes by seed, decoded."""
        return self._film.clips()

    def first_clip(self, wanted: Callable[[Take], bool]) -> Clip | None:
        """Pictures of the first kept episode that is wanted."""
        return self._film.first_clip(wanted)
