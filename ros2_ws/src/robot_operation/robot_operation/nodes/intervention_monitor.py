# SPDX-License-Identifier: Apache-2.0
"""Feeds the scripted operator with the state of the simulation, and says when it takes over or lets go."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import JointState
from vla_interfaces.msg import EpisodeEvent, Executed, TaskTruth

from robot_operation.core.commanded_opening import CommandedOpening
from robot_operation.core.scripted_intervention import InterventionConfig, ScriptedIntervention, SimState
from whetstone_common.core.reason import Reason, ReasonedError
from whetstone_common.core.robot import RobotError
from whetstone_common.core.robot_joints import JointSample, RobotJoints
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_joint_message, to_ns
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_files import find_kinematics, robot_of_parameter

_MOST_WAITING = 64  # truths that the joints may be behind


class InterventionMonitor:
    """Joins truth, joints and commands into the state of the simulation."""

    def __init__(self, node: WhetstoneNode, engage: Callable[[bool], None]) -> None:
        """Subscribe; `engage` is called with each tick's decision.

        Raises:
            ReasonedError: The robot file cannot be used.
        """
        self._node, self._engage = node, engage
        robot = robot_of_parameter(node.param("robot_file")).in_namespace(node.get_namespace())
        try:
            self._kinematics = find_kinematics(robot)
        except RobotError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, str(error)) from error
        self.intervention = ScriptedIntervention(InterventionConfig(max_rate=node.param("max_intervention_rate")))
        self._merger = RobotJoints(robot)
        self._joints: JointSample | None = None
        self._pending: deque[TaskTruth] = deque(maxlen=_MOST_WAITING)
        self.commanded = CommandedOpening()
        self._is_evaluation = False
        node.create_subscription(JointState, robot.joint_states_topic, self._on_joints, qos.SENSOR_IN)
        node.create_subscription(Executed, "executed", self._on_executed, qos.RECORD)
        node.create_subscription(TaskTruth, "sim/truth", self._on_truth, qos.RECORD)
        node.create_subscription(EpisodeEvent, "episode", self._on_event, qos.RECORD)

    def _on_event(self, msg: EpisodeEvent) -> None:
        """In an evaluation the policy is by itself: the helper lets go, and looks away until the next start."""
        if msg.event != EpisodeEvent.STARTED:
            return
        self._is_evaluation, drives = msg.evaluation, False
        self._engage(drives)

    def _on_executed(self, msg: Executed) -> None:
        opening = float(msg.joint_command[-1]) if msg.joint_command else None
        self.commanded.on_executed((msg.stamp.epoch, msg.stamp.episode), opening)

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
        if self._pending and to_ns(msg.stamp) < to_ns(self._pending[-1].stamp):
            self._pending.clear()  # the simulator has started anew
        self._pending.append(msg)
        self._join()

    def _join(self) -> None:
        """Use each tick with joints that are as new: those of the last scene's end look like a failing grasp."""
        while self._joints and self._pending and to_ns(self._pending[0].stamp) <= self._joints.stamp_ns:
            self._update(self._pending.popleft(), self._joints)

    def _update(self, truth: TaskTruth, sample: JointSample) -> None:
        self.commanded.on_scene(truth.reset_id)
        state = SimState(
            task=truth.task,
            scene=int(truth.reset_id),
            tick=int(truth.tick),
            tcp=self._kinematics.fk(sample.positions).position,
            object=np.asarray(truth.object_position, dtype=np.float64),
            goal=np.asarray(truth.goal_position, dtype=np.float64),
            progress=float(truth.progress),
            opening=sample.opening,
            commanded=self.commanded.opening,
        )
        if not self._is_evaluation:
            self._engage(self.intervention.update(state))
