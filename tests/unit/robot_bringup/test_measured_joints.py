# SPDX-License-Identifier: Apache-2.0
"""The measured joints of an arm: when they count as lost, frozen or of another time."""

from __future__ import annotations

import numpy as np

from fakes.arm_world import panda
from robot_bringup.core.measured_joints import MeasuredJoints
from robot_bringup.core.settings import ArmSettings
from whetstone_common.core.joint_parts import JointMessage
from whetstone_common.core.reason import Reason

_NS = 1_000_000_000


def heard(joints: MeasuredJoints, now_s: float, stamp_ns: int) -> float:
    """All joints arrive at home; returns how far their stamp went back."""
    robot = panda()
    gripper = robot.gripper.to_position(1.0)
    message = JointMessage(robot.contract_joints, [*robot.home.tolist(), gripper], stamp_ns)
    sample = joints.read(message, now_s, None)
    assert sample is not None
    return joints.accept(sample)


def test_when_nothing_was_heard_expect_a_problem_and_no_loss():
    joints = MeasuredJoints(panda(), ArmSettings())
    assert joints.sample is None and joints.loss(1e6) is None
    assert joints.problem(0.0).startswith("no joint states on ")


def test_when_the_joints_fall_silent_expect_a_loss_and_a_problem():
    joints = MeasuredJoints(panda(), ArmSettings(joint_timeout_s=0.2))
    heard(joints, 10.0, _NS)
    assert joints.problem(10.2) == "" and joints.loss(10.2) is None
    loss = joints.loss(10.3)
    assert loss is not None and loss[0] is Reason.JOINT_STATE_LOST
    assert joints.problem(10.3) == loss[1]


def test_when_stamps_overtake_each_other_expect_no_jump_but_in_lockstep_any_step_back_is_one():
    real_time, lockstep = (MeasuredJoints(panda(), ArmSettings(lockstep=waits)) for waits in (False, True))
    assert heard(lockstep, 10.0, 2 * _NS) == 0.0
    assert heard(lockstep, 10.1, 2 * _NS - 50_000_000) == 0.05
    assert heard(real_time, 10.0, 2 * _NS) == 0.0
    assert heard(real_time, 10.1, 2 * _NS + 50_000_000) == 0.0


def test_when_the_command_moves_and_the_joints_do_not_expect_them_named_until_they_are_forgotten():
    robot = panda()
    joints = MeasuredJoints(robot, ArmSettings(frozen_joints_s=0.5))
    heard(joints, 10.0, _NS)
    sample = joints.sample
    assert sample is not None
    assert joints.frozen(sample, 0.0, robot.home) == ""
    moved = robot.home + 0.1 * np.ones(7)
    assert joints.frozen(sample, 0.4, moved) == ""
    assert robot.joints[0] in joints.frozen(sample, 0.6, moved)
    joints.forget_frozen()
    assert joints.frozen(sample, 0.7, robot.home) == ""
