# SPDX-License-Identifier: Apache-2.0
"""Rows 17 and 85: joints by name, never by place, and from as many messages as there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_policy.core.freshness import StampError
from vla_policy.core.joints import JointStream, proprioception
from whetstone_common.core.joint_layout import JointLayout
from whetstone_common.core.joint_parts import JointMessage, JointStateError
from whetstone_common.core.kinematics import Pose, rotation_matrix

ARM = tuple(f"joint{i}" for i in range(1, 8))
LAYOUT = JointLayout(arm=ARM, gripper="fingers", gripper_closed=0.0, gripper_open=0.04)
NAMES = (*ARM, "fingers")
MS = 1_000_000
VALUES = (*(0.1 * i for i in range(7)), 0.02)


def update(stream: JointStream, names: Sequence[str], values: Sequence[float], at: int = 1, **fields: Any) -> Any:
    """Message number `at`, one a millisecond."""
    message = JointMessage(names, values, **{"stamp_ns": at * MS} | fields)
    return stream.update(message, now_ns=at * MS, steady_ns=at * MS)


def fresh() -> JointStream:
    return JointStream(LAYOUT, "/joint_states", 100 * MS)


@given(st.permutations(list(zip((*NAMES, "extra1", "extra2"), (*VALUES, math.nan, math.inf), strict=True))))
def test_when_order_and_company_change_expect_the_same_positions(pairs: list[tuple[str, float]]) -> None:
    found = update(fresh(), [name for name, _ in pairs], [value for _, value in pairs])
    assert np.allclose(found.positions, (*VALUES[:-1], 0.5))


def test_when_a_robot_has_no_gripper_expect_none_waited_for_and_an_open_one_told() -> None:
    stream = JointStream(replace(LAYOUT, has_gripper=False), "/joint_states", 100 * MS)
    assert np.allclose(update(stream, ARM, VALUES[:-1]).positions, (*VALUES[:-1], 1.0))


@given(st.sets(st.sampled_from(NAMES), min_size=1))
def test_when_joints_are_missing_expect_refusal_that_names_them(holes: set[str]) -> None:
    kept = [(name, value) for name, value in zip(NAMES, VALUES, strict=True) if name not in holes]
    with pytest.raises(JointStateError) as refused:
        update(fresh(), [name for name, _ in kept], [value for _, value in kept])
    assert refused.value.kind == "missing" and all(name in str(refused.value) for name in holes)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(8))
def test_when_a_position_is_not_finite_expect_refusal_that_names_it(place: int, value: float) -> None:
    values = [*VALUES]
    values[place] = value
    with pytest.raises(JointStateError, match=NAMES[place]) as refused:
        update(fresh(), NAMES, values)
    assert refused.value.kind == "not_finite"


@pytest.mark.parametrize(
    ("names", "values", "kind"),
    [
        (NAMES, VALUES[:-1], "length"),
        (NAMES[:-1], VALUES, "length"),
        (NAMES, (), "length"),
        ((), (), "missing"),
        ((*NAMES, ARM[0]), (*VALUES, 9.0), "repeated"),
        (NAMES * 100, VALUES * 100, "length"),
    ],
)
def test_when_lengths_or_names_do_not_fit_expect_refusal(names: tuple, values: tuple, kind: str) -> None:
    with pytest.raises(JointStateError) as refused:
        update(fresh(), names, values)
    assert refused.value.kind == kind


def test_when_arm_and_gripper_come_in_parts_expect_the_arms_stamp_and_the_older_time_of_receipt() -> None:
    stream = fresh()
    with pytest.raises(JointStateError, match="fingers missing on /joint_states"):
        update(stream, ARM, VALUES[:-1])
    update(stream, ["fingers"], [0.01], 2)
    found = update(stream, ARM, [0.3] * 7, 3)
    assert np.allclose(found.positions, [*[0.3] * 7, 0.25])
    assert (found.stamp_ns, found.heard_ns, found.laggards) == (3 * MS, 2 * MS, "")
    assert update(stream, ARM, [0.3] * 7, 500).laggards == "fingers"
    assert update(stream, ["wheel"], [0.0], 501) is None


@pytest.mark.parametrize(
    ("stamp_ns", "kind"), [(0, "zero"), (-5, "zero"), (5 * 10**9, "future"), (10**12, "other_clock")]
)
def test_when_the_stamp_of_one_part_cannot_be_expect_only_that_part_refused(stamp_ns: int, kind: str) -> None:
    stream = fresh()
    update(stream, NAMES, VALUES)
    with pytest.raises(StampError) as refused:
        update(stream, ["fingers"], [0.04], 2, stamp_ns=stamp_ns)
    assert refused.value.kind == kind
    assert update(stream, ARM, [0.3] * 7, 3).positions[-1] == 0.5


def test_when_the_stamp_of_one_part_goes_back_expect_only_that_part_refused() -> None:
    stream = fresh()
    update(stream, NAMES, VALUES, 5)
    with pytest.raises(JointStateError) as refused:
        update(stream, ["fingers"], [0.04], 6, stamp_ns=4 * MS)
    assert refused.value.kind == "order"
    assert update(stream, ARM, [0.3] * 7, 7).positions[-1] == 0.5


@pytest.mark.parametrize(("position", "opening"), [(-0.01, 0.0), (0.0, 0.0), (0.04, 1.0), (0.05, 1.0)])
def test_when_the_gripper_is_beyond_its_travel_expect_the_opening_clamped(position: float, opening: float) -> None:
    assert LAYOUT.vector((*VALUES[:-1], position))[-1] == opening


def test_when_a_gripper_has_no_travel_expect_refusal() -> None:
    with pytest.raises(ValueError, match="no travel"):
        JointLayout(arm=ARM, gripper="fingers", gripper_closed=1.0, gripper_open=1.0)


def test_when_cartesian_expect_position_two_columns_and_opening() -> None:
    turn = rotation_matrix(np.array([0.3, -0.2, 0.5]))
    joints = np.array([*VALUES[:-1], 0.5])
    out = proprioception("cartesian", joints, Pose(np.array([0.4, 0.1, 0.3]), turn))
    wanted = [0.4, 0.1, 0.3, *turn[:, 0], *turn[:, 1], 0.5]
    assert out.dtype == np.float32 and np.allclose(out, wanted)


def test_when_joint_space_expect_the_joints() -> None:
    joints = np.array([*VALUES[:-1], 0.5])
    assert np.allclose(proprioception("joint", joints, Pose(np.zeros(3), np.eye(3))), joints)
