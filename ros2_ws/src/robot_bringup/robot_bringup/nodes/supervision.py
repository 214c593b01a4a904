# SPDX-License-Identifier: Apache-2.0
"""Shows a scripted person what happens in the simulator, and tells when they take over or let go."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import JointState
from vla_interfaces.msg import Executed, TaskTruth

from robot_bringup.core.robot import RobotError
from robot_bringup.core.supervisor import Habits, Sight, Supervisor
from robot_bringup.nodes import convert
from robot_bringup.nodes.robot_files import find_kinematics, find_robot
from whetstone_common.core.reason import Reason, ReasonedError
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode


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
        self._joints: JointState | None = None
        self._commanded = 1.0
        self._scene = -1
        # Newest episode of the arm, (epoch, number), that was heard of, and the one that the last reset ended.
        self._heard = self._ended = (0, 0)
        node.create_subscription(JointState, self._robot.joint_states_topic, self._on_joints, qos.SENSOR_IN)
        node.create_subscription(Executed, "executed", self._on_executed, qos.RECORD)
        node.create_subscription(TaskTruth, "/sim/truth", self._on_truth, qos.RECORD)

    def _on_joints(self, msg: JointState) -> None:
        self._joints = msg

    def _on_executed(self, msg: Executed) -> None:
        episode = (msg.stamp.epoch, msg.stamp.episode)
        self._heard = max(self._heard, episode)
        # The last commands of an episode arrive after the reset: a hand that closed then closes nothing now.
        if msg.joint_command and episode > self._ended:
            self._commanded = float(msg.joint_command[-1])

    def _on_truth(self, msg: TaskTruth) -> None:
        if self._joints is None:
            return
        if msg.reset_id != self._scene:
            self._scene, self._commanded, self._ended = msg.reset_id, 1.0, self._heard
        try:
            sample = convert.to_joints(self._robot, self._joints)
        except ReasonedError:
            self._node.counters["bad_message"] += 1
            return
        sight = Sight(
            scene=int(msg.reset_id),
            tick=int(msg.tick),
            tcp=self._kinematics.fk(sample.positions).position,
            object=np.asarray(msg.object_position, dtype=np.float64),
            goal=np.asarray(msg.goal_position, dtype=np.float64),
            progress=float(msg.progress),
            opening=sample.opening,
            commanded=self._commanded,
        )
        self._engage(self.supervisor.see(sight))
