# SPDX-License-Identifier: Apache-2.0
"""Kinematics: round trips, limits, and agreement with what they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whetstone_common.core.kinematics import Kinematics, Pose, rotation_matrix, rotation_vector

DESCRIPTION = Path(__file__).resolve().parents[3] / "ros2_ws" / "src" / "robot_bringup" / "description"
PANDA_JOINTS = tuple(f"panda_joint{i}" for i in range(1, 8))
HOME = np.array([0.0, -0.2608, 0.0, -2.4298, 0.0, 2.1690, 0.0008])
# file, tip, joints, orientation weight that an arm of that many joints can meet
ARMS = {
    "panda": (PANDA_JOINTS, 0.3),
    "fr3": (tuple(f"fr3_joint{i}" for i in range(1, 8)), 0.3),
    "ur5e": (
        (
            "shoulder_pan_joint",
            "shoulder_lift_joint",
            "elbow_joint",
            "wrist_1_joint",
            "wrist_2_joint",
            "wrist_3_joint",
        ),
        0.3,
    ),
    "so101": (("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"), 0.06),
}


def load(name: str) -> Kinematics:
    """Kinematics of a shipped description."""
    joints, weight = ARMS[name]
    xml = (DESCRIPTION / f"{name}.urdf").read_text(encoding="utf-8")
    return Kinematics.from_urdf(xml, "tcp", joints, orientation_weight_m=weight)


@pytest.fixture(scope="module")
def panda() -> Kinematics:
    """The simulated arm."""
    return load("panda")


@pytest.mark.parametrize("name", ARMS)
def test_when_a_pose_is_reachable_expect_ik_to_come_back_to_it(name: str) -> None:
    arm = load(name)
    rng = np.random.default_rng(0)
    middle, half = (arm.lower + arm.upper) / 2, (arm.upper - arm.lower) / 2
    for _ in range(50):
        truth = middle + rng.uniform(-0.7, 0.7, len(half)) * half
        target = arm.fk(truth)
        found = arm.ik(np.clip(truth + rng.uniform(-0.15, 0.15, len(half)), arm.lower, arm.upper), target)
        reached = arm.fk(found)
        assert reached.distance_m(target) < 1e-4
        assert reached.angle_rad(target) < 1e-3


def test_when_asked_twice_expect_the_same_bits(panda: Kinematics) -> None:
    target = Pose(np.array([0.5, 0.1, 0.1]), panda.fk(HOME).rotation)
    first = panda.ik(HOME, target, posture=HOME)
    panda.ik(HOME, Pose(np.array([0.4, -0.2, 0.3]), target.rotation))
    assert (panda.ik(HOME, target, posture=HOME) == first).all()


def test_when_a_posture_is_given_expect_spare_joints_near_it_and_the_tip_on_target(panda: Kinematics) -> None:
    target = panda.fk(HOME)
    start = panda.ik(HOME + np.array([0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 0.0]), target)
    q = start
    for _ in range(30):
        q = panda.ik(q, target, posture=HOME)
    assert np.linalg.norm(q - HOME) < 0.3 * np.linalg.norm(start - HOME)
    assert panda.fk(q).distance_m(target) < 1e-4


def test_when_a_target_is_out_of_reach_expect_finite_joints_within_limits(panda: Kinematics) -> None:
    q = panda.ik(HOME, Pose(np.array([3.0, 0.0, 0.5]), np.eye(3)), posture=HOME)
    assert np.isfinite(q).all()
    assert (q >= panda.lower).all() and (q <= panda.upper).all()


def test_when_moving_in_small_steps_expect_small_steps_of_the_joints(panda: Kinematics) -> None:
    pose = panda.fk(HOME)
    q = panda.ik(HOME, pose, posture=HOME)
    for k in range(100):
        target = Pose(pose.position + np.array([0.15, 0.2, -0.2]) * k / 100, pose.rotation)
        following = panda.ik(q, target, posture=HOME)
        assert np.abs(following - q).max() < 0.05
        q = following


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_when_numbers_are_not_finite_expect_a_refusal(panda: Kinematics, bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        panda.ik(HOME, Pose(np.array([0.5, bad, 0.2]), np.eye(3)))
    with pytest.raises(ValueError, match="finite"):
        panda.fk([bad] * 7)


def test_when_the_number_of_joints_is_wrong_expect_a_refusal(panda: Kinematics) -> None:
    with pytest.raises(ValueError, match="expected 7"):
        panda.fk([0.0] * 6)


def test_when_a_joint_or_the_tip_is_unknown_expect_a_refusal() -> None:
    xml = (DESCRIPTION / "panda.urdf").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="elbow"):
        Kinematics.from_urdf(xml, "tcp", [*PANDA_JOINTS[:-1], "elbow"])
    with pytest.raises(ValueError, match="hand"):
        Kinematics.from_urdf(xml, "hand", PANDA_JOINTS)


def test_when_joints_come_in_another_order_expect_the_same_pose(panda: Kinematics) -> None:
    xml = (DESCRIPTION / "panda.urdf").read_text(encoding="utf-8")
    backwards = Kinematics.from_urdf(xml, "tcp", PANDA_JOINTS[::-1])
    assert backwards.fk(HOME[::-1]).distance_m(panda.fk(HOME)) < 1e-12
    assert (backwards.lower == panda.lower[::-1]).all()


def test_when_the_jacobian_is_compared_with_differences_expect_agreement(panda: Kinematics) -> None:
    jacobian, step = panda.jacobian(HOME), 1e-6
    base = panda.fk(HOME)
    for k in range(7):
        moved = panda.fk(HOME + step * np.eye(7)[k])
        assert np.allclose((moved.position - base.position) / step, jacobian[:3, k], atol=1e-5)
        assert np.allclose(rotation_vector(moved.rotation @ base.rotation.T) / step, jacobian[3:, k], atol=1e-5)


def test_when_a_pose_goes_through_a_quaternion_expect_it_back() -> None:
    rotation = rotation_matrix(np.array([0.3, -2.0, 0.9]))
    pose = Pose(np.array([0.1, 0.2, 0.3]), rotation)
    back = Pose.from_quaternion_xyzw(pose.position, pose.quaternion_xyzw())
    assert back.angle_rad(pose) < 1e-9
    with pytest.raises(ValueError, match="quaternion"):
        Pose.from_quaternion_xyzw([0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0])


def test_when_the_ur5e_is_anywhere_expect_the_pose_of_its_published_dh_parameters() -> None:
    joints, _ = ARMS["ur5e"]
    xml = (DESCRIPTION / "ur5e.urdf").read_text(encoding="utf-8")
    arm = Kinematics.from_urdf(xml, "tool0", joints)
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = rng.uniform(-3.0, 3.0, 6)
        pose, expected = arm.fk(q), ur5e_by_dh(q)
        assert np.allclose(pose.position, expected[:3, 3], atol=1e-6)
        assert np.allclose(pose.rotation, expected[:3, :3], atol=1e-6)


def ur5e_by_dh(q: np.ndarray) -> np.ndarray:
    """(4, 4) pose of tool0 by the manufacturer's DH parameters, whose base is base_link turned by half a turn."""
    pose = np.diag([-1.0, -1.0, 1.0, 1.0])
    quarter = np.pi / 2
    table = [(0.1625, 0.0, quarter), (0.0, -0.425, 0.0), (0.0, -0.3922, 0.0)]
    table += [(0.1333, 0.0, quarter), (0.0997, 0.0, -quarter), (0.0996, 0.0, 0.0)]
    for angle, (d, a, alpha) in zip(q, table, strict=True):
        c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
        pose = pose @ np.array(
            [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0.0, sa, ca, d], [0.0, 0.0, 0.0, 1.0]]
        )
    return pose


def test_when_the_fr3_is_at_its_ready_pose_expect_the_hand_where_the_manufacturer_shows_it() -> None:
    pose = load("fr3").fk([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
    assert pose.position == pytest.approx([0.3069, 0.0, 0.4869], abs=1e-4)
    assert pose.rotation == pytest.approx(np.diag([1.0, -1.0, -1.0]), abs=1e-9)


def test_when_the_so101_is_in_the_middle_of_its_ranges_expect_the_jaws_straight_ahead() -> None:
    # Position from the arm's published MJCF, site `gripperframe`.
    pose = load("so101").fk(np.zeros(5))
    assert pose.position == pytest.approx([0.391362, -1.1e-5, 0.226469], abs=1e-6)
    assert pose.rotation[:, 2] == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)
