# SPDX-License-Identifier: Apache-2.0
"""The simulated controller: interpolation, and holding when nobody commands."""

from __future__ import annotations

import numpy as np
import pytest

from sim_bridge.core.commands import Trajectory
from sim_bridge.core.controller import Controller


def path(times: list[float], joints: list[list[float]], openings: list[float] | None = None) -> Trajectory:
    """A trajectory."""
    return Trajectory(np.array(times), np.array(joints), None if openings is None else np.array(openings))


def test_when_between_points_expect_an_even_motion_from_where_the_command_was() -> None:
    controller = Controller([0.0, 0.0], 1.0)
    controller.follow(path([0.1, 0.2], [[1.0, 2.0], [1.0, 4.0]], [1.0, 0.0]), now_s=10.0)
    assert controller.sample(10.05)[0] == pytest.approx([0.5, 1.0])
    joints, opening = controller.sample(10.15)
    assert joints == pytest.approx([1.0, 3.0]) and opening == pytest.approx(0.5)


def test_when_commands_stop_expect_the_last_target_held_for_ever() -> None:
    controller = Controller([0.0], 1.0)
    controller.follow(path([0.1], [[1.0]], [0.25]), now_s=0.0)
    joints, opening = controller.sample(1e6)
    assert joints.tolist() == [1.0] and opening == 0.25


def test_when_a_point_has_time_zero_expect_a_jump_to_it() -> None:
    controller = Controller([0.0], 1.0)
    controller.follow(path([0.0], [[1.0]]), now_s=5.0)
    assert controller.sample(5.0)[0].tolist() == [1.0]


def test_when_a_new_trajectory_comes_expect_it_to_start_from_the_present_command() -> None:
    controller = Controller([0.0], 1.0)
    controller.follow(path([1.0], [[1.0]]), now_s=0.0)
    controller.follow(path([1.0], [[0.0]]), now_s=0.5)
    assert controller.sample(0.5)[0] == pytest.approx([0.5])
    assert controller.sample(1.0)[0] == pytest.approx([0.25])


def test_when_only_the_arm_is_commanded_expect_the_gripper_left_alone() -> None:
    controller = Controller([0.0], 1.0)
    controller.set_opening(0.3)
    controller.follow(path([1.0], [[1.0]]), now_s=0.0)
    assert controller.sample(2.0)[1] == 0.3


def test_when_told_to_hold_in_mid_motion_expect_no_further_motion() -> None:
    controller = Controller([0.0], 1.0)
    controller.follow(path([1.0], [[1.0]], [0.0]), now_s=0.0)
    controller.hold(now_s=0.5)
    joints, opening = controller.sample(9.0)
    assert joints == pytest.approx([0.5]) and opening == pytest.approx(0.5)
