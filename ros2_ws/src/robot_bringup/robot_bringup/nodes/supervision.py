# SPDX-License-Identifier: Apache-2.0
"""Shows a scripted person what happens in the simulator, and tells when they take over or let go."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import JointState
from vla_interfaces.msg import Executed, TaskTruth

from robot_bringup.core.joints import JointSample, RobotJoints
from robot_bringup.core.robot import RobotError
from robot_bringup.core.supervisor import Habits, Sight, Supervisor
from robot_bringup.nodes.robot_files import find_kinematics, find_robot
from whetstone_common.core.reason import Reason, ReasonedError
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_joint_message, to_ns
from whetstone_common.nodes.node import WhetstoneNode

_MOST_WAITING = 64  # truths that the joints may be behind


class Supervision:
    """Joins truth, joints and commands into what a person sees."""

    def __init__(self, node: WhetstoneNode, engage: Callable[[bool], None]) -> None:
        """Subscribe; `engage` is called with each tick's decision.

        Raises:
            ReasonedError: The robot file cannot be used.
        """
        self._node, self._engage = node, engage
        try:
            self._robot = find_robot(node.param("robot_file"))
            self._kinematics = find_kinematics(self._robot)
        except RobotError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, str(error)) from error
        self.supervisor = Supervisor(Habits(most_share=node.param("supervise_share")))
        self._merger = RobotJoints(self._robot)
        self._joints: JointSample | None = None
        self._waiting: deque[TaskTruth] = deque(maxlen=_MOST_WAITING)
        self._commanded = 1.0
        self._scene = -1
        # Newest episode of the arm, (epoch, number), that was heard of, and the one that the last reset ended.
        self._heard = self._ended = (0, 0)
        node.create_subscription(JointState, self._robot.joint_states_topic, self._on_joints, qos.SENSOR_IN)
        node.create_subscription(Executed, "executed", self._on_executed, qos.RECORD)
        node.create_subscription(TaskTruth, "/sim/truth", self._on_truth, qos.RECORD)

    def _on_executed(self, msg: Executed) -> None:
        episode = (msg.stamp.epoch, msg.stamp.episode)
        # Numbers of different starts of the arm say nothing about which came first.
        if episode[0] != self._heard[0] or episode > self._heard:
            self._heard = episode
        # The last commands of an episode arrive after the reset: a hand that closed then closes nothing now.
        if msg.joint_command and (episode[0] != self._ended[0] or episode > self._ended):
            self._commanded = float(msg.joint_command[-1])

    def _on_joints(self, msg: JointState) -> None:
        try:
            sample = self._merger.update(to_joint_message(msg), time.monotonic())
        except ReasonedError:
            self._node.counters["bad_message"] += 1
            return
        if sample is not None:
            self._joints = sample
            self._join()

    def _on_truth(self, msg: TaskTruth) -> None:
        if self._waiting and to_ns(msg.stamp) < to_ns(self._waiting[-1].stamp):
            self._waiting.clear()  # the simulator has started anew
        self._waiting.append(msg)
        self._join()

    def _join(self) -> None:
        """See each tick with joints that are as new: those of the last scene's end look like a failing grasp."""
        while self._joints and self._waiting and to_ns(self._waiting[0].stamp) <= self._joints.stamp_ns:
            self._see(self._waiting.popleft(), self._joints)

    def _see(self, truth: TaskTruth, sample: JointSample) -> None:
        if truth.reset_id != self._scene:
            self._scene, self._commanded, self._ended = truth.reset_id, 1.0, self._heard
        sight = Sight(
            task=truth.task,
            scene=int(truth.reset_id),
            tick=int(truth.tick),
            tcp=self._kinematics.fk(sample.positions).position,
            object=np.asarray(truth.object_position, dtype=np.float64),
            goal=np.asarray(truth.goal_position, dtype=np.float64),
            progress=float(truth.progress),
            opening=sample.opening,
            commanded=self._commanded,
        )
        self._engage(self.supervisor.see(sight))
