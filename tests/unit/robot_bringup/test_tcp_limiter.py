# SPDX-License-Identifier: Apache-2.0
"""TCP targets within the arm's limits."""

from __future__ import annotations

import numpy as np
import pytest

from fakes.arm_world import kinematics_of, panda
from robot_bringup.core.tcp_limiter import TcpLimiter
from whetstone_common.core.kinematics import Pose

ROBOT = panda()
KINEMATICS = kinematics_of(ROBOT)
DT_S = 0.05


@pytest.fixture
def limiter():
    made = TcpLimiter(KINEMATICS, ROBOT.limits, ROBOT.home, DT_S)
    made.start(ROBOT.home, 1.0)
    return made


def shifted(metres):
    home = KINEMATICS.fk(ROBOT.home)
    return Pose(home.position + np.array([metres, 0.0, 0.0]), home.rotation)


def test_when_a_target_is_near_expect_it_reached(limiter):
    command = limiter.limited(shifted(0.005), 0.9)
    assert not command.is_rejected and command.opening == pytest.approx(0.9)
    np.testing.assert_allclose(command.pose.position, shifted(0.005).position, atol=1e-4)
    np.testing.assert_allclose(KINEMATICS.fk(command.joints).position, command.pose.position)


def test_when_a_target_is_too_far_expect_braking_for_a_policy_and_the_way_for_a_human(limiter):
    rejected = limiter.limited(shifted(0.3), 1.0)
    assert rejected.is_rejected
    np.testing.assert_allclose(rejected.joints, ROBOT.home)
    command = limiter.limited(shifted(0.3), 1.0, by_human=True)
    assert not command.is_rejected
    moved = np.abs(command.joints - ROBOT.home)
    assert moved.max() > 0.0 and (moved <= ROBOT.limits.step + 1e-9).all()


def test_when_a_target_is_not_finite_expect_it_rejected(limiter):
    assert limiter.limited(shifted(np.nan), 1.0).is_rejected
    assert limiter.limited(shifted(0.0), np.nan).is_rejected


def test_when_nobody_said_where_the_arm_is_expect_a_sentence():
    with pytest.raises(RuntimeError, match="before TcpLimiter.start"):
        TcpLimiter(KINEMATICS, ROBOT.limits, ROBOT.home, DT_S).limited(shifted(0.0), 1.0)
