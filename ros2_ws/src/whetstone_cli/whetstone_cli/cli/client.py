# SPDX-License-Identifier: Apache-2.0
"""Our side of the graph while a command runs: waits for nodes, runs episodes, keeps pictures."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Bool
from vla_interfaces.action import RunEpisodes
from vla_interfaces.msg import EpisodeEvent, EpisodeMark, NodeStatus, StorageStatus

from experience.core.lerobot_export.frames import image_of
from robot_operation.core.marks import Mark
from robot_operation.nodes.mark_convert import to_mark_message
from whetstone_cli.cli import middleware
from whetstone_cli.cli.errors import UserError
from whetstone_cli.core.film import Clip
from whetstone_common.core.reason import Reason, State, sentence
from whetstone_common.nodes import qos

_TROUBLED = {State.HOLDING, State.ERROR}
_WORKING = {State.READY, State.RUNNING, State.HOLDING, State.STOPPED}
# A node that works speaks twice a second; on a crowded machine less often.
SILENT_S = 6.0
_DEAD_S = 20.0
_ACCEPT_TIMEOUT_S = 60.0
_CANCEL_TIMEOUT_S = 10.0
_ENDED = (GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)
# A result follows the end of its goal within this; it is asked for so often.
_OVERDUE_S = 5.0
_ASKS = 10
# Every second tick: pictures of 20 Hz control make a film of 10 Hz.
_LAST_EVENT_S = 2.0
_STRIDE = 2
FILM_FPS = 10


@dataclass
class Take:
    """Pictures of the running episode, still serialised."""

    instruction: str
    task: str
    views: dict[str, list[bytes]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    outcome: str = ""


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
        self._cameras = cameras
        self._statuses: dict[str, NodeStatus] = {}
        self._heard_s: dict[str, float] = {}
        self._storage: dict[str, StorageStatus] = {}
        self._take: Take | None = None
        self._takes: deque[Take] = deque(maxlen=max(takes, 1))
        self._films = takes > 0
        self._camera_qos = qos.RECORD if reliable else qos.SENSOR_IN
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
        self._node.create_subscription(NodeStatus, "node_status", self._on_status, qos.RECORD)
        self._node.create_subscription(StorageStatus, "storage_status", self._on_storage, qos.RECORD)
        self._node.create_subscription(EpisodeEvent, "episode", self._on_event, qos.RECORD)
        self._marks = self._node.create_publisher(EpisodeMark, "mark", qos.RING)
        self._engage = self._node.create_publisher(Bool, "operator/engage", qos.LATCHED)
        if self._films:
            for name, topic in self._cameras:
                self._film(name, topic)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._action.destroy()
        self._node.destroy_node()
        rclpy.shutdown()

    def _film(self, name: str, topic: str) -> None:
        def keep(data: bytes) -> None:
            take = self._take
            if take is None:
                return
            count = take.seen[name] = take.seen.get(name, 0) + 1
            if count % _STRIDE == 1:
                take.views.setdefault(name, []).append(bytes(data))

        # Still serialised: turning every picture into a message would cost more than the rest of the command.
        self._node.create_subscription(Image, topic, keep, self._camera_qos, raw=True)

    def _on_status(self, msg: NodeStatus) -> None:
        name = msg.node.rsplit("/", 1)[-1]
        self._statuses[name], self._heard_s[name] = msg, time.monotonic()

    def _on_storage(self, msg: StorageStatus) -> None:
        self._storage[msg.node.rsplit("/", 1)[-1]] = msg

    def _on_event(self, msg: EpisodeEvent) -> None:
        if msg.event == EpisodeEvent.HELLO:
            return
        self.events.append(msg)
        if msg.event == EpisodeEvent.STARTED:
            self._take = Take(msg.instruction, msg.task)
        elif self._take is not None:
            self._take.outcome = {
                EpisodeEvent.SUCCEEDED: "success",
                EpisodeEvent.FAILED: "failure",
                EpisodeEvent.TIMED_OUT: "timed out",
            }.get(msg.event, "aborted")
            self._takes.append(self._take)
            self._take = None

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
            waiting = [self._state_of(name) for name in nodes if not self._works(name)]
            on_wait(", ".join(waiting) or "episode_node's action")
            return not waiting and self._action.server_is_ready()

        if not self.spin_until(ready, timeout_s):
            missing = [self._state_of(name) for name in nodes if not self._works(name)]
            raise UserError(f"not ready after {timeout_s:g} s: {', '.join(missing) or 'episode_node has no action'}")

    def _works(self, name: str) -> bool:
        status = self._statuses.get(name)
        if status is not None and status.state == State.ERROR:
            raise UserError(self._state_of(name))
        return status is not None and status.state in _WORKING

    def _state_of(self, name: str) -> str:
        status = self._statuses.get(name)
        if status is None:
            return f"{name} has not been heard of"
        return f"{name} is {sentence(State(status.state), Reason(status.reason), status.detail)}"

    def trouble(self) -> str:
        """Which nodes hold or have failed, and why; empty while none does."""
        return ", ".join(self._state_of(name) for name, status in self._statuses.items() if status.state in _TROUBLED)

    def failed(self, nodes: Sequence[str]) -> str:
        """Which of the nodes is in error, and why; empty when none is. It will not recover by itself."""
        for name in nodes:
            status = self._statuses.get(name)
            if status is not None and status.state == State.ERROR:
                return self._state_of(name)
        return ""

    def silence_s(self, node: str) -> float:
        """Seconds since a node's last word; infinite when there was none."""
        return time.monotonic() - self._heard_s.get(node, -math.inf)

    def epoch_of(self, node: str) -> int:
        """Which process of a node spoke last, 0 when none has."""
        status = self._statuses.get(node)
        return int(status.node_epoch) if status is not None else 0

    def not_ready(self, nodes: Sequence[str]) -> str:
        """Which of the nodes is not READY, in what state and why; empty when all are."""
        for name in nodes:
            status = self._statuses.get(name)
            if self.silence_s(name) > SILENT_S:
                return f"{name} has said nothing for {_seconds(self.silence_s(name))}"
            # A message that was refused lies behind; what comes next is kept.
            refused_one = status is not None and (status.state, status.reason) == (State.HOLDING, Reason.BAD_MESSAGE)
            if status is None or not (status.state == State.READY or refused_one):
                return self._state_of(name)
        return ""

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
        self.spin_until(lambda: self._take is None, _LAST_EVENT_S)
        return ended

    def _watch_over(self, node: str) -> Callable[[], bool]:
        """A function that raises UserError when the node that runs a goal has died: nobody else would end the wait."""
        epoch = self.epoch_of(node)

        def alive() -> bool:
            if self.epoch_of(node) != epoch:
                raise UserError(f"{node} was restarted while it ran episodes")
            if self.silence_s(node) > _DEAD_S:
                raise UserError(f"{node} has said nothing for {_seconds(self.silence_s(node))} while it ran episodes")
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

    def storage(self, node: str) -> StorageStatus:
        """What a node has stored; all figures are 0 before it has published any."""
        return self._storage.get(node, StorageStatus())

    def mark(self, mark: Mark) -> None:
        """Send an operator's mark."""
        self._marks.publish(to_mark_message(mark, self._node))

    def engage(self, *, engaged: bool) -> None:
        """Tell the scripted operator to take over, or to let go."""
        self._engage.publish(Bool(data=engaged))

    def clips(self) -> list[Clip]:
        """Pictures of the last episodes, decoded."""
        return [self._clip(take) for take in self._takes if take.views]

    def first_clip(self, wanted: Callable[[Take], bool]) -> Clip | None:
        """Pictures of the first kept episode that is wanted."""
        return next((self._clip(take) for take in self._takes if take.views and wanted(take)), None)

    def _clip(self, take: Take) -> Clip:
        views = tuple(
            tuple(_decode(data) for data in take.views[name]) for name, _ in self._cameras if name in take.views
        )
        return Clip(views, f"{take.instruction}: {take.outcome}", take.outcome == "success")


def _seconds(duration_s: float) -> str:
    return f"{duration_s:.0f} s" if math.isfinite(duration_s) else "as long as we listen"


def _decode(data: bytes) -> np.ndarray:
    message: Any = deserialize_message(data, Image)
    return image_of(message)
