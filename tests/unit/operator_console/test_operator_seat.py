# SPDX-License-Identifier: Apache-2.0
"""Only the page in control moves anything, and nothing that was held down outlives it."""

from __future__ import annotations

import pytest

from operator_console.core.browser_device import BrowserDevice
from operator_console.core.control import ControlDesk, ControlError
from operator_console.core.operator_seat import OperatorSeat
from operator_console.core.page_message import PageMessage, PageRequest

FORWARD = PageMessage(PageRequest.NONE, keys=frozenset({"w"}))


def seat() -> OperatorSeat:
    made = OperatorSeat(ControlDesk(timeout_s=1.0), BrowserDevice(deadman_s=0.7, stale_s=0.3))
    made.open("a", "Ann", 0.0)
    made.open("b", "Bob", 0.0)
    return made


def test_when_a_page_is_in_control_expect_its_keys_to_count_and_those_of_others_not() -> None:
    made = seat()
    made.take("a")
    made.hear("b", FORWARD, 0.1)
    assert not made.turn(0.1)[1].engaged
    made.hear("a", FORWARD, 0.1)
    assert made.turn(0.1)[1].engaged
    assert made.view("a", 0.1).engaged and not made.view("b", 0.1).engaged


def test_when_control_changes_hands_expect_nothing_held_down_and_the_other_page_refused() -> None:
    made = seat()
    made.take("a")
    made.hear("a", FORWARD, 0.1)
    with pytest.raises(ControlError, match="Ann is in control"):
        made.give("b")
    made.give("a")
    made.take("b")
    assert not made.turn(0.1)[1].engaged
    with pytest.raises(ControlError, match="Bob is in control"):
        made.set_speed("a", 0.5)
    made.set_speed("b", 0.5)
    assert (made.operator, made.view("b", 0.1).speed, made.view("b", 0.1).viewers) == ("Bob", 0.5, 2)


def test_when_the_emergency_stop_is_pressed_expect_keys_in_the_same_message_ignored() -> None:
    made = seat()
    made.take("a")
    made.hear("a", PageMessage(PageRequest.ESTOP, keys=frozenset({"w"})), 0.1)
    assert not made.turn(0.1)[1].engaged


def test_when_the_page_in_control_is_silent_or_closed_expect_its_operator_lost_once() -> None:
    made = seat()
    made.take("a")
    lost, _ = made.turn(1.1)
    assert lost is not None and lost.viewer == "Ann" and "no heartbeat" in lost.why
    assert made.turn(1.2)[0] is None
    connection = made.open("b", "Bob", 2.0)
    made.take("b")
    lost = made.close("b", connection)
    assert lost is not None and (lost.viewer, made.operator) == ("Bob", "")
