# SPDX-License-Identifier: Apache-2.0
"""Setpoints between policy steps."""

from __future__ import annotations

import numpy as np

from robot_bringup.core.cartesian import Target
from robot_bringup.core.interpolate import LastSegment, MotionSegment


def test_when_a_segment_is_followed_expect_an_even_way_and_the_gripper_at_once():
    segment = MotionSegment(Target(np.zeros(2), 1.0), Target(np.ones(2), 0.0), 10.0, 0.05)
    np.testing.assert_allclose(segment.at(9.0).joints, 0.0)
    np.testing.assert_allclose(segment.at(10.025).joints, 0.5)
    np.testing.assert_allclose(segment.at(11.0).joints, 1.0)
    assert segment.at(10.0).opening == 0.0
    assert not segment.done(10.04) and segment.done(10.05)


def test_when_a_step_takes_no_time_expect_its_end_at_once():
    segment = MotionSegment(Target(np.zeros(2), 1.0), Target(np.ones(2), 0.0), 10.0, 0.0)
    np.testing.assert_array_equal(segment.at(10.0).joints, 1.0)


def test_when_the_arm_will_hold_expect_the_speed_to_fade_from_that_of_an_even_way():
    even = MotionSegment(Target(np.zeros(1), 1.0), Target(np.ones(1), 1.0), 0.0, 0.05)
    last = LastSegment(Target(np.zeros(1), 1.0), Target(np.ones(1), 1.0), 0.0, 0.1)
    times = np.linspace(0.0, 0.1, 101)
    speed = np.diff([last.at(t).joints[0] for t in times]) / 0.001
    np.testing.assert_allclose(
        speed[0], np.diff([even.at(0.0).joints[0], even.at(0.001).joints[0]])[0] / 0.001, rtol=0.02
    )
    assert (np.diff(speed) < 0.0).all() and speed[-1] < 0.2
    np.testing.assert_array_equal(last.at(0.1).joints, 1.0)
