# SPDX-License-Identifier: Apache-2.0
"""Row 43: where to start from after a stop."""

from __future__ import annotations

import numpy as np
import pytest

from fakes.arm_world import panda
from robot_bringup.core.hold import ramp_steps, reseed
from robot_bringup.core.safety import Motion

ROBOT = panda()
N = len(ROBOT.joints)
LAST = Motion(ROBOT.home + 0.02, np.full(N, 0.3), 0.4)


def test_when_tracking_was_fine_expect_the_last_command_at_rest():
    start = reseed(ROBOT.home, 1.0, LAST, ROBOT.limits, trusted=True)
    np.testing.assert_array_equal(start.position, LAST.position)
    assert start.at_rest and start.opening == 0.4


def test_when_there_was_a_fault_expect_the_measured_state():
    start = reseed(ROBOT.home, 1.0, LAST, ROBOT.limits, trusted=False)
    np.testing.assert_array_equal(start.position, ROBOT.home)
    assert start.at_rest and start.opening == 1.0


def test_when_the_arm_was_moved_expect_the_measured_state():
    moved = ROBOT.home + 0.3
    np.testing.assert_array_equal(reseed(moved, 1.0, LAST, ROBOT.limits, trusted=True).position, moved)


def test_when_nothing_was_sent_yet_expect_the_measured_state():
    np.testing.assert_array_equal(reseed(ROBOT.home, 1.0, None, ROBOT.limits, trusted=True).position, ROBOT.home)


def test_when_the_measured_state_is_nonsense_expect_refusal():
    with pytest.raises(ValueError, match="not finite"):
        reseed(np.full(N, np.nan), 1.0, LAST, ROBOT.limits, trusted=True)


def test_when_ramping_from_full_speed_expect_rest_within_a_quarter_of_a_second():
    fastest = Motion(ROBOT.home, ROBOT.limits.velocity, 1.0)
    assert 0 < ramp_steps(fastest, ROBOT.limits, 0.01) * 0.01 <= 0.25
