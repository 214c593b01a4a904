# SPDX-License-Identifier: Apache-2.0
"""Drives the arm along a recorded motion, in an episode that is the operator's from its first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vla_interfaces.msg import Executed

from operator_console.core.commands import Command, CommandRefusedError
from operator_console.core.motion_replay import MotionReplay, ReplayError, ReplayPhase
from operator_console.core.playback import EpisodeReplay
from operator_console.nodes.commander import Answer, Commander
from robot_operation.nodes.takeover_stream import TakeoverStream
from whetstone_common.core.kinematics import Pose
from whetstone_common.core.robot import Robot, RobotError
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_ns
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_files import find_kinematics

_NS_PER_S = 1e9
NONE_YET = "no replay runs"


class ReplayDriver:
    """One replay at a time; its methods are called by the executor alone.

    Args:
        node: Subscribes.
        robot: Whose joints the motion must be of.
        commander: Starts and ends episodes.
        stream: Of this console's takeovers.
        note: Is told what became of a replay.

    Attributes:
        status: What pages show.
    """

    def __init__(
        self,
        node: WhetstoneNode,
        robot: Robot,
        commander: Commander,
        stream: TakeoverStream,
        note: Callable[[str], object],
    ) -> None:
        self._node, self._robot, self._commander, self._stream, self._note = node, robot, commander, stream, note
        self._replay: MotionReplay | None = None
        self._name = ""
        self._subscription: Any = None
        self.status = NONE_YET

    @property
    def is_running(self) -> bool:
        """Whether a replay drives the arm."""
        return self._replay is not None

    def start(self, name: str, episode: EpisodeReplay, speed: float, answer: Answer) -> None:
        """Start an episode and drive it.

        Args:
            name: Of the recording.
            episode: Whose motion it is; the scene is reset with its seed.
            speed: Share of the recorded speed.
            answer: Gets whether an episode was accepted, or why the motion is refused.
        """
        try:
            if self._replay is not None:
                raise ReplayError(f"{self._name} is being replayed; stop it first")
            forward = find_kinematics(self._robot).fk
            replay = MotionReplay(episode, self._robot.contract_joints, forward, speed)
        except (ReplayError, RobotError) as error:
            answer.set_exception(CommandRefusedError(str(error)))
            return
        self._replay, self._name = replay, name
        self._subscription = self._node.create_subscription(Executed, "executed", self._on_executed, qos.RECORD)
        # From now on: already the first step of the episode is the operator's.
        self.turn()
        answer.add_done_callback(lambda done: self._end(replay, "refused") if done.exception() is not None else None)
        self._commander.start_episode(episode.seed, answer, lambda result: self._end(replay, result))

    def turn(self) -> None:
        """Command the arm; called as often as takeover messages go out."""
        if self._replay is not None:
            self._stream.send_target(*self._replay.target)
            self.status = f"{self._name}: {self._replay.phase.value}, {100.0 * self._replay.share:.0f} %"

    def stop(self) -> str:
        """Hold the arm where it is and have the episode aborted; the replay is over when that is done."""
        if self._replay is None:
            raise CommandRefusedError(NONE_YET)
        self._replay.halt()
        self._commander.do(Command.ABORT, "", Answer())
        return "stopping"

    def forget(self, why: str) -> None:
        """Drive no more, without a release: another one drives in this episode, or the arm was stopped."""
        if self._replay is None:
            return
        self._replay = None
        self._node.destroy_subscription(self._subscription)
        self.status = f"{self._name}: {why}"
        self._note(self.status)

    def _end(self, replay: MotionReplay, result: str) -> None:
        """The episode is over, or was refused."""
        if self._replay is replay:
            self.forget(result)
            self._stream.release()

    def _on_executed(self, msg: Executed) -> None:
        replay = self._replay
        # A hello to the recorder is no step: it belongs to no episode.
        if replay is None or not msg.stamp.episode:
            return
        commanded = Pose.from_quaternion_xyzw(msg.tcp_target[:3], msg.tcp_target[3:])
        replay.advance(commanded, to_ns(msg.time) / _NS_PER_S)
        if replay.phase is ReplayPhase.OVER:
            self.stop()
        self.turn()
