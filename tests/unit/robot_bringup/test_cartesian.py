# SPDX-License-Identifier: Apache-2.0
"""Actions to poses and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.arm_world import kinematics_of, panda
from robot_bringup.core.cartesian import (
    UnreachableError,
    between,
    pose_from_seven,
    seven_from_pose,
    solve,
)
from whetstone_common.core.cartesian import displaced, displacement
from whetstone_common.core.kinematics import Pose, rotation_matrix

ROBOT = panda()
KINEMATICS = kinematics_of(ROBOT)
vectors = st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3).map(np.array)


@settings(deadline=None)
@given(vectors, vectors)
def test_when_a_pose_becomes_seven_numbers_expect_the_way_back(position, turn):
    pose = Pose(position, rotation_matrix(turn))
    back = pose_from_seven(seven_from_pose(pose))
    assert pose.distance_m(back) < 1e-9 and np.abs(pose.rotation - back.rotation).max() < 1e-9


@settings(deadline=None)
@given(vectors, vectors, vectors, vectors)
def test_when_an_action_is_applied_expect_the_same_action_back(p0, r0, d, r):
    reference = Pose(p0, rotation_matrix(r0))
    action = np.concatenate([d, r])
    np.testing.assert_allclose(displacement(reference, displaced(reference, action)), action, atol=1e-6)


def test_when_halfway_expect_half_the_way_and_half_the_turn():
    start = Pose(np.zeros(3), np.eye(3))
    end = Pose(np.ones(3), rotation_matrix(np.array([0.0, 0.0, 1.0])))
    middle = between(start, end, 0.5)
    np.testing.assert_allclose(middle.position, 0.5)
    np.testing.assert_allclose(middle.rotation, rotation_matrix(np.array([0.0, 0.0, 0.5])), atol=1e-12)


@pytest.mark.parametrize("bad", [np.zeros(7), np.full(7, np.nan), np.ones(6), np.array([0, 0, 0, 2.0, 0, 0, 0])])
def test_when_it_is_no_pose_expect_refusal(bad):
    with pytest.raises(ValueError, match=r"7 finite numbers|quaternion"):
        pose_from_seven(bad)


def test_when_the_target_is_out_of_reach_expect_it_said():
    here = KINEMATICS.fk(ROBOT.home)
    with pytest.raises(UnreachableError, match="out of reach"):
        solve(KINEMATICS, ROBOT.home, Pose(here.position + np.array([3.0, 0, 0]), here.rotation), ROBOT.home)
