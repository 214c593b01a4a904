# SPDX-License-Identifier: Apache-2.0
"""The safety filter: for any series of wishes, the series of commands satisfies all limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.arm_world import kinematics_of, panda
from robot_bringup.core import safety
from robot_bringup.core.safety import LimitVerdict, Motion

ROBOT = panda()
KINEMATICS = kinematics_of(ROBOT)
LIMITS = ROBOT.limits
N = len(ROBOT.joints)

wild = st.one_of(
    st.floats(-4.0, 4.0),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e38, -1e300, 5e-324, 0.0]),
)
wishes = st.lists(st.lists(wild, min_size=N, max_size=N), min_size=1, max_size=25)
openings = st.one_of(st.floats(-2.0, 3.0), st.just(float("nan")))


def tcp(q: np.ndarray) -> np.ndarray:
    return KINEMATICS.fk(q).position


def at_home() -> Motion:
    return Motion(ROBOT.home.copy(), np.zeros(N), 1.0)


def assert_allowed(old: Motion, new: Motion, limits: safety.MotionLimits, dt_s: float) -> None:
    step = new.position - old.position
    assert np.isfinite(new.position).all() and 0.0 <= new.opening <= 1.0
    assert (new.position >= limits.lower - 1e-9).all() and (new.position <= limits.upper + 1e-9).all()
    assert (np.abs(step) <= limits.step + 1e-9).all()
    assert (np.abs(step / dt_s) <= limits.velocity + 1e-6).all()
    assert (np.abs(step / dt_s - old.velocity) <= limits.acceleration * dt_s + 1e-6).all()
    assert safety.box_excess_m(tcp(new.position), limits) <= safety.box_excess_m(tcp(old.position), limits) + 1e-6


@pytest.mark.parametrize("dt_s", [0.01, 0.05])
@pytest.mark.parametrize("acceleration", [4.0, 60.0])
@settings(max_examples=25, deadline=None)
@given(wishes=wishes, opening=openings, strict=st.booleans())
def test_when_any_series_is_wished_expect_every_command_within_all_limits(dt_s, acceleration, wishes, opening, strict):
    excess = LIMITS.excess_rad if strict else 1e6
    limits = replace(LIMITS, acceleration=np.full(N, acceleration), excess_rad=excess)
    motion = at_home()
    for wish in wishes:
        for _ in range(3):
            new = safety.limit(np.array(wish), opening, motion, limits, dt_s, tcp).motion
            assert_allowed(motion, new, limits, dt_s)
            motion = new
    while not motion.at_rest:
        new = safety.brake(motion, limits, dt_s)
        assert_allowed(motion, new, limits, dt_s)
        motion = new


def test_when_one_joint_is_too_slow_for_a_wish_expect_all_to_go_the_same_share_of_the_way():
    wish = ROBOT.home + 0.05 * np.array([5.0, 1.0, -1.0, 0.5, 1.0, -2.0, 1.0])
    limited = safety.limit(wish, 1.0, at_home(), LIMITS, 0.05, tcp)
    share = (limited.motion.position - ROBOT.home) / (wish - ROBOT.home)
    assert limited.verdict is LimitVerdict.CLAMPED
    assert share == pytest.approx(np.full(N, LIMITS.velocity[0] / 5.0))


def test_when_a_joint_cannot_turn_round_in_one_step_expect_the_others_not_to_wait_for_it():
    limits = replace(LIMITS, acceleration=np.full(N, 40.0))
    last = replace(at_home(), velocity=np.array([2.6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    wish = ROBOT.home + 0.05 * np.array([-2.0, 1.0, -1.0, 0.5, 1.0, -2.0, 1.0])
    limited = safety.limit(wish, 1.0, last, limits, 0.05, tcp)
    assert limited.motion.position[1:] == pytest.approx(wish[1:])


@pytest.mark.parametrize("seed", range(4))
def test_when_pushed_at_the_edges_for_long_expect_no_limit_broken(seed):
    rng = np.random.default_rng(seed)
    limits = replace(LIMITS, acceleration=np.full(N, 8.0), excess_rad=1e6)
    motion = at_home()
    wish = ROBOT.home.copy()
    for k in range(600):
        if k % 60 == 0:
            wish = rng.uniform(limits.lower - 1.0, limits.upper + 1.0)
        new = safety.limit(wish, 1.0, motion, limits, 0.01, tcp).motion
        assert_allowed(motion, new, limits, 0.01)
        motion = new


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("joint", range(N))
def test_when_one_joint_is_not_finite_expect_braking_and_never_a_clamp(bad, joint):
    wish = ROBOT.home.copy()
    wish[joint] = bad
    moving = Motion(ROBOT.home.copy(), np.full(N, 0.5), 1.0)
    limited = safety.limit(wish, 1.0, moving, LIMITS, 0.01, tcp)
    assert limited.verdict is LimitVerdict.NOT_FINITE
    np.testing.assert_array_equal(limited.motion.position, safety.brake(moving, LIMITS, 0.01).position)


def test_when_the_wish_is_allowed_expect_it_exactly():
    wish = ROBOT.home + 0.001
    limited = safety.limit(wish, 0.9, at_home(), LIMITS, 0.01, tcp)
    assert limited.verdict is LimitVerdict.PASSED
    np.testing.assert_allclose(limited.motion.position, wish, atol=1e-15)


def test_when_the_excess_is_small_expect_a_clamp_and_when_large_a_refusal():
    step = LIMITS.step[0]
    small = ROBOT.home.copy()
    small[0] += step + LIMITS.excess_rad / 2
    large = ROBOT.home.copy()
    large[0] += step + LIMITS.excess_rad * 2
    assert safety.limit(small, 1.0, at_home(), LIMITS, 0.05, tcp).verdict is LimitVerdict.CLAMPED
    refused = safety.limit(large, 1.0, at_home(), LIMITS, 0.05, tcp)
    assert refused.verdict is LimitVerdict.REFUSED and refused.motion.at_rest


def test_when_a_fixed_target_is_tracked_expect_arrival_with_next_to_no_overshoot():
    limits = replace(LIMITS, acceleration=np.full(N, 5.0), excess_rad=1e6)
    target = ROBOT.home + 0.3
    motion, furthest = at_home(), ROBOT.home.copy()
    for _ in range(200):
        motion = safety.limit(target, 1.0, motion, limits, 0.01, tcp).motion
        furthest = np.maximum(furthest, motion.position)
    np.testing.assert_allclose(motion.position, target, atol=1e-6)
    assert (furthest <= target + 0.003).all()


def test_when_the_start_is_outside_the_workspace_expect_only_ways_inwards():
    limits = replace(LIMITS, box_lower=np.array([0.5, -0.5, 0.0]), excess_rad=1e6)
    start = at_home()
    outside = safety.box_excess_m(tcp(start.position), limits)
    assert outside > 0.0
    inwards = KINEMATICS.jacobian(start.position)[0]
    moved = safety.limit(start.position + 0.02 * inwards, 1.0, start, limits, 0.01, tcp).motion
    assert safety.box_excess_m(tcp(moved.position), limits) < outside
    stuck = safety.limit(start.position - 0.02 * inwards, 1.0, start, limits, 0.01, tcp).motion
    assert safety.box_excess_m(tcp(stuck.position), limits) <= outside + 1e-9


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-2.0, 2.0), min_size=N, max_size=N), st.sampled_from([0.01, 0.05]))
def test_when_braking_expect_the_predicted_way(velocity, dt_s):
    motion = Motion(np.zeros(N), np.array(velocity), 1.0)
    predicted = safety.stopping_rad(motion.velocity, LIMITS, dt_s)
    while not motion.at_rest:
        motion = safety.brake(motion, LIMITS, dt_s)
    np.testing.assert_allclose(motion.position, predicted, atol=1e-9)


def test_when_the_measured_joints_are_outside_expect_a_small_excess_pulled_in_and_a_large_one_refused():
    slightly = LIMITS.upper + 0.01
    np.testing.assert_array_equal(safety.seed(slightly, 1.0, LIMITS).position, LIMITS.upper)
    with pytest.raises(ValueError, match="outside its limits"):
        safety.seed(LIMITS.upper + 1.0, 1.0, LIMITS)
    with pytest.raises(ValueError, match="not finite"):
        safety.seed(np.full(N, np.nan), 1.0, LIMITS)


def test_when_a_target_is_further_than_its_time_allows_expect_too_far():
    reachable = ROBOT.home + LIMITS.velocity * 0.05
    assert not safety.too_far(reachable, at_home(), LIMITS, 0.05)
    assert safety.too_far(reachable + 2 * LIMITS.excess_rad, at_home(), LIMITS, 0.05)
    assert safety.too_far(np.full(N, np.nan), at_home(), LIMITS, 0.05)
