# SPDX-License-Identifier: Apache-2.0
"""Rows 17 and 85: joints by name, whatever their order and from however many drivers; what cannot be is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.arm_world import panda
from whetstone_common.core.joint_parts import JointMessage
from whetstone_common.core.reason import Reason, ReasonedError
from whetstone_common.core.robot import GripperOutput
from whetstone_common.core.robot_joints import RobotJoints
from whetstone_common.core.sources import Source

ROBOT = panda()
NAMES = [*ROBOT.contract_joints, "someone_elses_joint"]
VALUES = {name: 0.1 * k for k, name in enumerate(NAMES)}
NS = 1_000_000_000


def message(names, values=None, stamp_ns: int = 7, source: str = "") -> JointMessage:
    positions = [VALUES[name] for name in names] if values is None else values
    return JointMessage(names, positions, stamp_ns, Source(source, source))


@settings(deadline=None)
@given(st.permutations(NAMES))
def test_when_the_order_is_any_expect_the_same_joints(order):
    sample = RobotJoints(ROBOT).update(message(order), 1.0)
    np.testing.assert_allclose(sample.positions, [VALUES[name] for name in ROBOT.joints])
    assert sample.opening == pytest.approx(VALUES["panda_gripper"]) and sample.stamp_ns == 7


@settings(deadline=None)
@given(st.permutations(NAMES), st.sampled_from(ROBOT.contract_joints))
def test_when_a_joint_is_missing_expect_no_sample_and_its_name(order, hole):
    joints = RobotJoints(ROBOT)
    assert joints.update(message([name for name in order if name != hole], source="/driver"), 1.0) is None
    reason, text = joints.loss(1.1)
    assert reason is Reason.MISSING_STREAM
    assert text.startswith(f"{hole} missing on /joint_states: /driver publishes ") and "someone_elses_joint" in text


@settings(deadline=None)
@given(st.sampled_from(ROBOT.contract_joints), st.sampled_from([float("nan"), float("inf"), -float("inf")]))
def test_when_a_joint_is_not_finite_expect_refusal_by_name(name, bad):
    with pytest.raises(ReasonedError, match=name) as refused:
        RobotJoints(ROBOT).update(message(NAMES, [bad if n == name else VALUES[n] for n in NAMES]), 1.0)
    assert refused.value.reason is Reason.NOT_FINITE


def test_when_another_arms_joint_is_not_finite_expect_no_concern():
    values = [float("nan") if n == "someone_elses_joint" else 0.0 for n in NAMES]
    assert RobotJoints(ROBOT).update(message(NAMES, values), 1.0) is not None


@pytest.mark.parametrize(("names", "positions"), [(NAMES, [0.0]), (["a", "a"], [0.0, 0.0]), (["a"] * 300, [0.0] * 300)])
def test_when_lengths_differ_or_names_repeat_expect_refusal(names, positions):
    with pytest.raises(ReasonedError):
        RobotJoints(ROBOT).update(message(names, positions), 1.0)


def test_when_a_message_is_empty_or_anothers_expect_it_ignored():
    joints = RobotJoints(ROBOT)
    assert joints.update(message([]), 1.0) is None
    assert joints.update(message(["someone_elses_joint"]), 1.0) is None
    assert joints.update(message(NAMES), 1.0) is not None
    assert joints.update(message(["someone_elses_joint"]), 1.1) is None


# ---- in parts ------------------------------------------------------------------------------------------------------


def split(joints: RobotJoints, k: int, *, arm: float = 0.0, gripper: float = 0.5):
    """Message k of an arm driver, then of a gripper driver, 10 ms apart; the last sample."""
    joints.update(message(ROBOT.joints, [arm] * 7, k * 10_000_000, "/arm"), 0.01 * k)
    return joints.update(message(["panda_gripper"], [gripper], k * 10_000_000 + 1, "/gripper"), 0.01 * k + 0.001)


def test_when_arm_and_gripper_come_in_parts_expect_them_merged_with_the_arms_stamp():
    joints = RobotJoints(ROBOT)
    assert joints.update(message(ROBOT.joints, [0.1] * 7, 100), 0.0) is None
    sample = joints.update(message(["panda_gripper"], [0.25], 200), 0.001)
    np.testing.assert_array_equal(sample.positions, [0.1] * 7)
    assert (sample.opening, sample.stamp_ns, sample.heard_s) == (0.25, 100, 0.0)
    sample = joints.update(message(ROBOT.joints, [0.2] * 7, 300), 0.01)
    assert (sample.stamp_ns, sample.heard_s) == (300, 0.001)


def test_when_the_arm_itself_comes_in_parts_expect_the_stamp_of_the_older_and_both_groups():
    joints = RobotJoints(ROBOT)
    joints.update(message([*ROBOT.joints[4:], "panda_gripper"], [0.0] * 4, 200), 0.0)
    sample = joints.update(message(ROBOT.joints[:4], [0.0] * 4, 100), 0.0)
    assert sample.stamp_ns == 100 and sorted(sample.groups) == [(0, 1, 2, 3), (4, 5, 6)]


def test_when_one_part_falls_silent_expect_its_joints_named():
    joints = RobotJoints(ROBOT)
    for k in range(3):
        split(joints, k)
    for k in range(3, 40):
        sample = joints.update(message(ROBOT.joints, [0.0] * 7, k * 10_000_000, "/arm"), 0.01 * k)
    assert sample.heard_s == pytest.approx(0.021)
    reason, text = joints.loss(0.4)
    assert reason is Reason.JOINT_STATE_LOST
    assert text == "panda_gripper on /joint_states silent for 0.38 s, the other joints are heard"


def test_when_all_parts_fall_silent_expect_the_topic_named():
    joints = RobotJoints(ROBOT)
    split(joints, 0)
    assert joints.loss(3.0) == (Reason.JOINT_STATE_LOST, "/joint_states silent for 3.00 s")


def test_when_one_part_is_refused_expect_the_other_to_go_on_and_the_refusal_to_explain_the_silence():
    joints = RobotJoints(ROBOT)
    split(joints, 0)
    for k in range(1, 40):
        with pytest.raises(ReasonedError, match="panda_gripper is nan"):
            split(joints, k, arm=0.01 * k, gripper=float("nan"))
    assert joints.update(message(ROBOT.joints, [0.4] * 7, NS), 0.4).positions[0] == 0.4
    reason, text = joints.loss(0.4)
    assert reason is Reason.NOT_FINITE and "panda_gripper is nan" in text


@pytest.mark.parametrize("part", [0, 1])
def test_when_the_stamp_of_one_part_goes_back_once_expect_that_message_refused(part):
    joints = RobotJoints(ROBOT)
    split(joints, 50)
    names = [list(ROBOT.joints), ["panda_gripper"]][part]
    with pytest.raises(ReasonedError, match=r"stamp of panda_\w+ is 0\.\d+ s before its last one") as refused:
        joints.update(message(names, [0.9] * len(names), 10_000_000), 0.51)
    assert refused.value.reason is Reason.BAD_MESSAGE
    sample = split(joints, 51)
    assert sample.stamp_ns == 510_000_000 and sample.opening == 0.5


def test_when_the_clock_of_a_driver_goes_back_for_good_expect_the_second_message_taken():
    joints = RobotJoints(ROBOT)
    joints.update(message(NAMES, stamp_ns=50 * NS), 0.0)
    with pytest.raises(ReasonedError, match="before its last one"):
        joints.update(message(NAMES, stamp_ns=3 * NS), 0.01)
    assert joints.update(message(NAMES, stamp_ns=3 * NS + 1), 0.02).stamp_ns == 3 * NS + 1


def test_when_the_world_waits_expect_a_clock_that_went_back_taken_at_once():
    joints = RobotJoints(ROBOT, confirm_back=False)
    joints.update(message(NAMES, stamp_ns=50 * NS), 0.0)
    assert joints.update(message(NAMES, stamp_ns=3 * NS), 0.01).stamp_ns == 3 * NS


def test_when_a_robot_has_no_gripper_expect_no_joint_of_it_wanted():
    robot = replace(ROBOT, gripper=replace(ROBOT.gripper, output=GripperOutput.NONE))
    sample = RobotJoints(robot).update(message(ROBOT.joints), 0.0)
    assert sample.opening == 1.0


# ---- two drivers -----------------------------------------------------------------------------------------------------


def test_when_two_drivers_publish_the_same_joints_expect_the_second_refused_and_both_named():
    joints = RobotJoints(ROBOT)
    joints.update(message(NAMES, source="/one"), 0.0)
    with pytest.raises(ReasonedError, match="panda_joint1 on /joint_states is published by /one and /two") as refused:
        joints.update(message(NAMES, source="/two"), 0.01)
    assert refused.value.reason is Reason.SECOND_SOURCE
    assert joints.conflict(0.01) == ""  # it may be about to replace the first
    joints.update(message(NAMES, source="/one"), 0.02)
    assert "/one and /two" in joints.conflict(0.03)
    for k in range(200):
        joints.update(message(NAMES, source="/one"), 0.6 + 0.01 * k)
    assert joints.conflict(2.6) == ""


def test_when_a_driver_is_started_anew_expect_it_taken_as_soon_as_the_old_one_is_silent():
    joints = RobotJoints(ROBOT)
    joints.update(message(NAMES, source="/old"), 0.0)
    for k in range(1, 49):
        with pytest.raises(ReasonedError):
            joints.update(message(NAMES, source="/new"), 0.01 * k)
    for k in range(51, 60):
        assert joints.update(message(NAMES, source="/new"), 0.01 * k) is not None
        assert joints.conflict(0.01 * k) == ""


def test_when_two_drivers_publish_different_joints_expect_no_conflict():
    joints = RobotJoints(ROBOT)
    for k in range(100):
        split(joints, k)
    assert joints.conflict(1.0) == ""


def test_when_ros_does_not_say_who_publishes_expect_no_conflict():
    joints = RobotJoints(ROBOT)
    joints.update(message(NAMES, source="/one"), 0.0)
    assert joints.update(message(NAMES), 0.01) is not None
