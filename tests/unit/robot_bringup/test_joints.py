# SPDX-License-Identifier: Apache-2.0
"""Row 17: joints by name, whatever their order; incomplete or not finite is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.arm_world import panda
from robot_bringup.core.joints import read_joints
from whetstone_common.core.reason import Reason, ReasonedError

ROBOT = panda()
NAMES = [*ROBOT.contract_joints, "someone_elses_joint"]
VALUES = {name: 0.1 * k for k, name in enumerate(NAMES)}


@settings(deadline=None)
@given(st.permutations(NAMES))
def test_when_the_order_is_any_expect_the_same_joints(order):
    sample = read_joints(ROBOT, order, [VALUES[name] for name in order], 7)
    np.testing.assert_allclose(sample.positions, [VALUES[name] for name in ROBOT.joints])
    assert sample.opening == pytest.approx(VALUES["panda_gripper"]) and sample.stamp_ns == 7


@settings(deadline=None)
@given(st.permutations(NAMES), st.sampled_from(ROBOT.contract_joints))
def test_when_a_joint_is_missing_expect_refusal_by_name(order, hole):
    names = [name for name in order if name != hole]
    with pytest.raises(ReasonedError, match=hole) as refused:
        read_joints(ROBOT, names, [VALUES[name] for name in names], 0)
    assert refused.value.reason is Reason.BAD_MESSAGE


@settings(deadline=None)
@given(st.sampled_from(ROBOT.contract_joints), st.sampled_from([float("nan"), float("inf"), -float("inf")]))
def test_when_a_joint_is_not_finite_expect_refusal_by_name(name, bad):
    with pytest.raises(ReasonedError, match=name) as refused:
        read_joints(ROBOT, NAMES, [bad if n == name else VALUES[n] for n in NAMES], 0)
    assert refused.value.reason is Reason.NOT_FINITE


def test_when_another_arms_joint_is_not_finite_expect_no_concern():
    read_joints(ROBOT, NAMES, [float("nan") if n == "someone_elses_joint" else 0.0 for n in NAMES], 0)


@pytest.mark.parametrize(("names", "positions"), [(NAMES, [0.0]), (["a", "a"], [0.0, 0.0]), ([], [])])
def test_when_lengths_differ_or_names_repeat_expect_refusal(names, positions):
    with pytest.raises(ReasonedError):
        read_joints(ROBOT, names, positions, 0)
