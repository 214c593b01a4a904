# SPDX-License-Identifier: Apache-2.0
"""Commands off the wire: what is refused, and why."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim_bridge.core.commands import CommandRefusal, CommandRefused, parse_array, parse_opening, parse_trajectory

ARM = ("a", "b", "c")


def test_when_joints_come_in_any_order_expect_the_arms_order() -> None:
    found = parse_trajectory(ARM, "g", ["c", "g", "a", "b"], [(0.1, [3.0, 0.5, 1.0, 2.0]), (0.2, [6.0, 1.0, 4.0, 5.0])])
    assert found.joints.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert found.openings is not None and found.openings.tolist() == [0.5, 1.0]
    assert found.times_s.tolist() == [0.1, 0.2]


def test_when_the_gripper_is_left_out_expect_it_left_alone() -> None:
    assert parse_trajectory(ARM, "g", ARM, [(0.0, [1.0, 2.0, 3.0])]).openings is None


@pytest.mark.parametrize(
    ("names", "points", "refusal"),
    [
        (["a", "b"], [(0.0, [0.0, 0.0])], CommandRefusal.NAMES),
        (["a", "b", "x"], [(0.0, [0.0] * 3)], CommandRefusal.NAMES),
        (["a", "b", "b"], [(0.0, [0.0] * 3)], CommandRefusal.NAMES),
        (["a", "b", "c", "c"], [(0.0, [0.0] * 4)], CommandRefusal.NAMES),
        (["g"], [(0.0, [0.0])], CommandRefusal.NAMES),
        ([], [], CommandRefusal.NAMES),
        (ARM, [], CommandRefusal.EMPTY),
        (ARM, [(0.0, [0.0, 0.0])], CommandRefusal.SIZE),
        (ARM, [(0.0, [0.0] * 3), (1.0, [])], CommandRefusal.SIZE),
        (ARM, [(0.0, [0.0, math.nan, 0.0])], CommandRefusal.NOT_FINITE),
        (ARM, [(math.inf, [0.0, 0.0, 0.0])], CommandRefusal.NOT_FINITE),
        (ARM, [(-0.1, [0.0] * 3)], CommandRefusal.TIMES),
        (ARM, [(0.2, [0.0] * 3), (0.2, [0.0] * 3)], CommandRefusal.TIMES),
    ],
)
def test_when_a_trajectory_is_malformed_expect_the_reason(
    names: list[str], points: list, refusal: CommandRefusal
) -> None:
    with pytest.raises(CommandRefused) as caught:
        parse_trajectory(ARM, "g", names, points)
    assert caught.value.refusal is refusal


def test_when_an_array_has_one_more_value_expect_it_to_be_the_opening() -> None:
    assert parse_array(3, [1.0, 2.0, 3.0]).openings is None
    found = parse_array(3, [1.0, 2.0, 3.0, 0.25])
    assert found.openings is not None and found.openings.tolist() == [0.25]
    assert np.array_equal(found.joints, [[1.0, 2.0, 3.0]])


@pytest.mark.parametrize(
    ("values", "refusal"),
    [([], CommandRefusal.SIZE), ([0.0] * 5, CommandRefusal.SIZE), ([0, 0, math.inf], CommandRefusal.NOT_FINITE)],
)
def test_when_an_array_is_malformed_expect_the_reason(values: list[float], refusal: CommandRefusal) -> None:
    with pytest.raises(CommandRefused) as caught:
        parse_array(3, values)
    assert caught.value.refusal is refusal


def test_when_a_gripper_command_is_malformed_expect_the_reason() -> None:
    assert parse_opening([0.5]) == 0.5
    for values, refusal in (
        ([], CommandRefusal.SIZE),
        ([0.1, 0.2], CommandRefusal.SIZE),
        ([math.nan], CommandRefusal.NOT_FINITE),
    ):
        with pytest.raises(CommandRefused) as caught:
            parse_opening(values)
        assert caught.value.refusal is refusal
