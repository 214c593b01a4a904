# SPDX-License-Identifier: Apache-2.0
"""Keys and sticks: deadman, stop, marks."""

from __future__ import annotations

import numpy as np
import pytest

from robot_operation.core.devices import JoyMap, Joystick, JoystickError, Keyboard, NoDevice
from robot_operation.core.marks import Mark

MAP = JoyMap(
    (1, 0, -1, -1, -1, -1), (1.0, -1.0, 1.0, 1.0, 1.0, 1.0), 0.1, deadman=5, gripper=0, estop=1, success=3, failure=2
)


def buttons(*down: int) -> list[int]:
    return [int(k in down) for k in range(6)]


def test_when_a_motion_key_is_held_expect_motion_and_when_it_rests_a_release():
    keyboard = Keyboard(deadman_s=0.7, key_s=0.15)
    assert not keyboard.intent(0.0).engaged
    keyboard.press("w", 1.0)
    assert keyboard.intent(1.1).engaged and keyboard.intent(1.1).direction[0] == 1.0
    assert keyboard.intent(1.3).engaged and not keyboard.intent(1.3).direction.any()
    assert not keyboard.intent(1.8).engaged


def test_when_opposite_keys_are_pressed_expect_no_motion():
    keyboard = Keyboard(0.7, 0.15)
    keyboard.press("ws", 0.0)
    assert not keyboard.intent(0.01).direction.any()


def test_when_space_is_among_the_keys_expect_an_estop_and_never_a_release_after_it():
    keyboard = Keyboard(0.7, 0.15)
    assert keyboard.press(" z", 0.0).estop is True
    assert keyboard.press("z ", 0.0).estop is True
    assert keyboard.press("z", 0.0).estop is False
    assert keyboard.press("w", 0.0).estop is None


def test_when_marks_are_typed_expect_them_in_order():
    assert Keyboard(0.7, 0.15).press("yncq?", 0.0).marks == (Mark.SUCCESS, Mark.FAILURE, Mark.RESET, Mark.ABORT)


def test_when_the_gripper_key_is_pressed_expect_a_toggle_that_ends_with_the_takeover():
    keyboard = Keyboard(0.7, 0.15)
    keyboard.press("g", 0.0)
    assert keyboard.intent(0.1).opening == 0.0
    keyboard.press("g", 0.2)
    assert keyboard.intent(0.3).opening == 1.0
    assert np.isnan(keyboard.intent(5.0).opening)


def test_when_the_deadman_is_held_expect_the_stick_to_drive():
    stick = Joystick(MAP, 0.5)
    stick.update([0.5, 1.0], buttons(5), 0.0)
    intent = stick.intent(0.1)
    assert intent.engaged and intent.alive
    np.testing.assert_allclose(intent.direction, [1.0, -0.5, 0, 0, 0, 0])
    stick.update([0.5, 1.0], buttons(), 0.2)
    assert not stick.intent(0.2).engaged


def test_when_the_stick_is_near_its_middle_expect_nothing():
    stick = Joystick(MAP, 0.5)
    stick.update([0.05, -0.09], buttons(5), 0.0)
    assert not stick.intent(0.0).direction.any()


def test_when_the_stick_is_unplugged_expect_it_not_alive():
    stick = Joystick(MAP, 0.5)
    stick.update([0.0, 0.0], buttons(5), 0.0)
    assert not stick.intent(0.6).alive


def test_when_buttons_are_held_expect_one_event_per_press():
    stick = Joystick(MAP, 0.5)
    first = stick.update([0.0, 0.0], buttons(1, 3), 0.0)
    assert first.estop is True and first.marks == (Mark.SUCCESS,)
    again = stick.update([0.0, 0.0], buttons(1, 3), 0.1)
    assert again.estop is None and again.marks == ()


@pytest.mark.parametrize("axes", [[float("nan"), 0.0], [0.0]])
def test_when_an_axis_is_missing_or_not_finite_expect_refusal(axes):
    with pytest.raises(ValueError, match="axis"):
        Joystick(MAP, 0.5).update(axes, buttons(5), 0.0)


def test_when_there_is_no_device_expect_nobody_to_drive():
    assert not NoDevice().intent(0.0).engaged


def test_when_an_axis_is_not_finite_expect_the_emergency_stop_heard_all_the_same():
    stick = Joystick(MAP, 0.5)
    with pytest.raises(JoystickError, match="axis 1") as refused:
        stick.update([0.0, float("nan")], buttons(5, MAP.estop), 0.0)
    assert refused.value.pressed.estop is True and not stick.intent(0.0).alive
    with pytest.raises(JoystickError) as again:
        stick.update([0.0, float("nan")], buttons(5, MAP.estop), 0.1)
    assert again.value.pressed.estop is None
