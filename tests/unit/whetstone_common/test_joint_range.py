# SPDX-License-Identifier: Apache-2.0
"""Another unit or order shows in values that the robot cannot have."""

from __future__ import annotations

import numpy as np
import pytest

from whetstone_common.core.joint_range import JointRange, names_problem

RANGE = JointRange(("a", "b", "g"), np.array([-1.0, -3.0]), np.array([1.0, -0.5]))
GOOD = np.array([[0.0, -1.0, 1.0], [1.0, -3.0, 0.0]])


def test_when_values_are_within_the_limits_expect_none_outside() -> None:
    assert RANGE.first_outside(GOOD) is None
    assert RANGE.first_outside(GOOD + np.array([0.05, -0.05, 0.05])) is None


@pytest.mark.parametrize(
    ("frame", "column", "value", "words"),
    [
        (1, 0, 57.3, "a is 57.3 rad, allowed: -1.1 to 1.1"),
        (0, 1, 0.2, "b is 0.2 rad, allowed: -3.1 to -0.4"),
        (1, 2, 100.0, "g is 100 of the opening, allowed: -0.1 to 1.1"),
        (0, 2, float("nan"), "g is nan of the opening"),
    ],
)
def test_when_a_value_is_outside_expect_frame_joint_value_and_limits(
    frame: int, column: int, value: float, words: str
) -> None:
    values = GOOD.copy()
    values[frame, column] = value
    found = RANGE.first_outside(values)
    assert found is not None
    assert (found.frame, found.joint) == (frame, RANGE.names[column])
    assert words in str(found)


def test_when_names_differ_expect_the_kind_of_difference() -> None:
    assert names_problem(["a", "b", "g"], RANGE.names) == ""
    assert "in another order" in names_problem(["g", "a", "b"], RANGE.names)
    assert "other names" in names_problem(["a.pos", "b", "g"], RANGE.names)
