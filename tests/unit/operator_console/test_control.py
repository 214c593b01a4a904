# SPDX-License-Identifier: Apache-2.0
"""One page in control, for as long as its heartbeats come."""

from __future__ import annotations

import pytest

from operator_console.core.control import ControlDesk, ControlError


def desk_with(*pages: str) -> ControlDesk:
    desk = ControlDesk(timeout_s=1.0)
    for page in pages:
        desk.open(page, f"viewer {page}", 0.0)
    return desk


def test_when_one_page_is_in_control_expect_another_is_refused_by_name() -> None:
    desk = desk_with("a", "b")
    desk.take("a")
    with pytest.raises(ControlError, match="viewer a is in control"):
        desk.take("b")
    with pytest.raises(ControlError, match="viewer a is in control"):
        desk.check("b")
    assert desk.controls("a") and not desk.controls("b")


def test_when_control_is_given_back_expect_another_may_take_it() -> None:
    desk = desk_with("a", "b")
    desk.take("a")
    desk.release("b")
    assert desk.controls("a"), "only who has control gives it back"
    desk.release("a")
    desk.take("b")
    assert desk.operator == "viewer b"


def test_when_nobody_is_in_control_expect_commands_are_refused_and_nobody_is_lost() -> None:
    desk = desk_with("a")
    with pytest.raises(ControlError, match="take control first"):
        desk.check("a")
    assert desk.check_heartbeat(100.0) is None
    assert not desk.controls("")


def test_when_a_page_is_not_connected_expect_it_gets_no_control() -> None:
    with pytest.raises(ControlError, match="not connected"):
        desk_with("a").take("x")


def test_when_heartbeats_stop_expect_the_operator_is_lost_once_and_control_is_free() -> None:
    desk = desk_with("a")
    desk.take("a")
    desk.beat("a", 5.0)
    assert desk.check_heartbeat(6.0) is None
    lost = desk.check_heartbeat(6.01)
    assert lost is not None and lost.viewer == "viewer a" and "1.01 s" in lost.why
    assert desk.check_heartbeat(7.0) is None
    desk.beat("a", 8.0)
    assert not desk.controls("a"), "heartbeats alone do not give control back"
    desk.take("a")


def test_when_the_page_in_control_closes_expect_the_operator_is_lost_at_once() -> None:
    desk = desk_with("b")
    connection = desk.open("a", "viewer a", 0.0)
    desk.take("a")
    lost = desk.close("a", connection)
    assert lost is not None and "closed" in lost.why
    assert desk.operator == "" and desk.viewers == 1


def test_when_a_viewer_closes_expect_nobody_is_lost() -> None:
    desk = desk_with("a")
    connection = desk.open("b", "viewer b", 0.0)
    desk.take("a")
    assert desk.close("b", connection) is None
    assert desk.controls("a")


def test_when_a_page_has_connected_anew_expect_the_end_of_its_old_connection_means_nothing() -> None:
    desk = desk_with()
    old = desk.open("a", "viewer a", 0.0)
    desk.take("a")
    desk.open("a", "viewer a", 0.5)
    assert desk.close("a", old) is None
    assert desk.controls("a")
