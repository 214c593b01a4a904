# SPDX-License-Identifier: Apache-2.0
"""Watchdogs count on the times that they are given."""

from __future__ import annotations

import numpy as np
import pytest

from robot_bringup.core.watchdog import ClockJump, FrozenJoints, FrozenParts, Stall, Timeout


@pytest.mark.parametrize("limit_s", [0.0, -1.0, float("nan"), float("inf")])
def test_when_a_timeout_would_protect_nobody_expect_refusal(limit_s):
    with pytest.raises(ValueError, match="protects nobody"):
        Timeout(limit_s)


def test_when_silent_expect_expiry_and_when_fed_not():
    watchdog = Timeout(0.1)
    assert not watchdog.expired(100.0)
    watchdog.feed(100.0)
    assert not watchdog.expired(100.1)
    assert watchdog.expired(100.11)
    watchdog.feed(100.2)
    assert not watchdog.expired(100.25)
    watchdog.clear()
    assert not watchdog.expired(1e9)


def test_when_started_twice_expect_the_first_start_to_count():
    watchdog = Timeout(0.1)
    watchdog.start(0.0)
    watchdog.start(0.09)
    assert watchdog.expired(0.11)


def feed(frozen: FrozenJoints, speed: float, moves: bool, seconds: float) -> bool:
    found = False
    for k in range(int(seconds * 100)):
        measured = np.array([0.001 * k if moves else 0.3, 0.1])
        found = found or frozen.update(k * 0.01, np.array([speed * k * 0.01, 0.0]), measured)
    return found


def test_when_commanded_to_move_and_constant_for_half_a_second_expect_frozen():
    assert feed(FrozenJoints(0.5), 0.2, moves=False, seconds=0.6)


def test_when_constant_for_less_expect_nothing():
    assert not feed(FrozenJoints(0.5), 0.2, moves=False, seconds=0.45)


def test_when_the_joints_follow_expect_nothing():
    assert not feed(FrozenJoints(0.5), 0.2, moves=True, seconds=2.0)


def test_when_the_command_stands_still_expect_nothing():
    assert not feed(FrozenJoints(0.5), 0.0, moves=False, seconds=2.0)


@pytest.mark.parametrize(("groups", "frozen"), [(((0,), (1, 2)), (1, 2)), (((0, 1, 2),), ()), (((0, 1), (2,)), (2,))])
def test_when_one_part_of_the_joints_freezes_expect_the_joints_of_that_part(groups, frozen):
    watchdog = FrozenParts(0.5)
    found = ()
    for k in range(80):
        commanded = np.full(3, 0.002 * k)
        measured = np.array([0.002 * k, 0.002 * k if groups == ((0, 1), (2,)) else 0.3, 0.3])
        found = found or watchdog.update(0.01 * k, commanded, measured, groups)
    assert found == frozen


def test_when_time_runs_back_expect_the_jump_told_once():
    clock = ClockJump(0.1)
    assert clock.update(10**9) == 0.0
    assert clock.update(10**9 - 50_000_000) == 0.0
    assert clock.update(0) == pytest.approx(1.0)
    assert clock.update(1) == 0.0
    assert clock.update(1000 * 10**9) == 0.0


def test_when_periods_follow_each_other_expect_no_pause_and_after_a_gap_its_length():
    stall = Stall(0.1)
    assert stall.update(100.0) == 0.0
    assert stall.update(100.1 - 1e-9) == 0.0
    assert stall.update(100.6) == pytest.approx(0.5)
    assert stall.update(100.61) == 0.0
