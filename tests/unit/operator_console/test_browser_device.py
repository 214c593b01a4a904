# SPDX-License-Identifier: Apache-2.0
"""Keys and gamepad of a browser."""

from __future__ import annotations

import numpy as np
import pytest

from operator_console.core.browser_device import BrowserDevice, Gamepad


def keys(*held: str) -> frozenset[str]:
    return frozenset(held)


def pad(*held: int, axes: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)) -> Gamepad:
    return Gamepad.of(axes, [k in held for k in range(17)])


def device() -> BrowserDevice:
    return BrowserDevice(deadman_s=0.7, stale_s=0.3)


def test_when_a_motion_key_is_held_expect_motion_until_it_is_let_go() -> None:
    made = device()
    made.update(keys("w"), None, 1.0)
    assert made.intent(1.1).engaged and made.intent(1.1).direction.tolist() == [1, 0, 0, 0, 0, 0]
    made.update(keys(), None, 1.2)
    assert made.intent(1.3).engaged and not made.intent(1.3).direction.any()
    made.update(keys(), None, 1.8)
    assert not made.intent(1.8).engaged


def test_when_inputs_are_stale_expect_an_intent_that_is_not_alive() -> None:
    made = device()
    made.update(keys("w"), None, 1.0)
    assert made.intent(1.29).alive
    assert not made.intent(1.31).alive


def test_when_opposite_keys_are_held_expect_no_motion() -> None:
    made = device()
    made.update(keys("w", "s"), None, 1.0)
    assert made.intent(1.0).engaged and not made.intent(1.0).direction.any()


def test_when_keys_mean_nothing_expect_no_takeover() -> None:
    made = device()
    made.update(keys("x", "shift", "y"), None, 1.0)
    assert not made.intent(1.0).engaged


def test_when_the_speed_is_lower_expect_less_motion_and_nonsense_is_refused() -> None:
    made = device()
    made.speed = 0.5
    made.update(keys("a"), None, 1.0)
    assert made.intent(1.0).direction[1] == 0.5
    for bad in (0.0, -1.0, 1.01, float("nan")):
        with pytest.raises(ValueError, match="speed"):
            made.speed = bad


def test_when_the_gripper_key_is_held_expect_one_toggle_that_ends_with_the_takeover() -> None:
    made = device()
    made.update(keys("g"), None, 1.0)
    made.update(keys("g"), None, 1.05)
    assert made.intent(1.05).opening == 0.0
    made.update(keys("t"), None, 1.1)
    made.update(keys("t", "g"), None, 1.2)
    assert made.intent(1.2).opening == 1.0
    assert np.isnan(made.intent(9.0).opening)


def test_when_the_clutch_of_a_gamepad_is_held_expect_its_sticks_to_drive_and_else_not() -> None:
    made = device()
    made.update(keys(), pad(axes=(0.0, -1.0, 0.0, 0.0)), 1.0)
    assert not made.intent(1.0).engaged
    made.update(keys(), pad(5, 12, axes=(0.05, -1.0, 0.5, 0.0)), 1.1)
    assert made.intent(1.1).engaged
    assert made.intent(1.1).direction.tolist() == [1.0, 0.0, 1.0, 0.0, 0.0, -0.5]


def test_when_an_axis_of_a_gamepad_is_not_finite_expect_a_refusal() -> None:
    with pytest.raises(ValueError, match="not finite"):
        Gamepad.of([0.0, float("nan")], [])


def test_when_the_operator_is_lost_expect_nothing_is_held_any_more() -> None:
    made = device()
    made.update(keys("w"), None, 1.0)
    made.let_go()
    assert not made.intent(1.0).engaged and not made.intent(1.0).direction.any()
