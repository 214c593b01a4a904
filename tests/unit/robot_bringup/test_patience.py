# SPDX-License-Identifier: Apache-2.0
"""Patience: a wish waits for the look, once, not for ever, and never behind a release."""

from __future__ import annotations

from dataclasses import replace

from robot_bringup.core.patience import Patience
from whetstone_common.core.stamp import Stamp

MOST_S = 0.5


def look(request: int) -> Stamp:
    return Stamp(7, 1, request)


def driving(most_s: float = MOST_S) -> Patience[str]:
    """A person whose first wish has gone out."""
    made: Patience[str] = Patience(most_s)
    made.want("first")
    assert made.due(0.0) == "first"
    return made


def test_when_nothing_is_looked_at_expect_each_wish_at_once_and_once():
    patience = driving()
    patience.want("a")
    assert [patience.due(0.1), patience.due(0.2)] == ["a", None]


def test_when_a_look_is_open_expect_the_newest_wish_once_after_its_answer():
    patience = driving()
    patience.asked(look(2), 1.0)
    for wish in ("a", "b"):
        patience.want(wish)
        assert patience.due(1.1) is None
    # An answer carries the time of its observation, which the request did not know.
    patience.answered(replace(look(2), observation_ns=5))
    assert [patience.due(1.2), patience.due(1.3)] == ["b", None]
    patience.want("c")
    assert patience.due(1.4) == "c" and (patience.awaited, patience.given_up) == (1, 0)


def test_when_another_look_is_answered_expect_the_wish_to_wait_on():
    patience = driving()
    patience.asked(look(3), 1.0)
    patience.want("a")
    patience.answered(look(2))
    assert patience.due(1.1) is None


def test_when_no_answer_comes_expect_the_wish_when_patience_is_over_and_a_count():
    patience = driving()
    patience.asked(look(2), 1.0)
    patience.want("a")
    assert [patience.due(1.0 + MOST_S - 0.01), patience.due(1.0 + MOST_S)] == [None, "a"]
    assert patience.given_up == 1
    patience.answered(look(2))
    patience.want("b")
    assert patience.due(1.6) == "b" and patience.given_up == 1


def test_when_the_answer_overtakes_the_request_expect_no_waiting():
    patience = driving()
    patience.answered(look(2))
    patience.asked(look(2), 1.0)
    patience.want("a")
    assert patience.due(1.0) == "a" and patience.awaited == 0


def test_when_nobody_drives_yet_expect_a_look_to_hold_nothing_back():
    patience: Patience[str] = Patience(MOST_S)
    patience.asked(look(2), 1.0)
    patience.want("a")
    assert patience.due(1.0) == "a"


def test_when_the_person_lets_go_expect_what_was_held_gone_and_the_next_takeover_at_once():
    patience = driving()
    patience.asked(look(2), 1.0)
    patience.want("a")
    patience.let_go()
    assert patience.due(1.1) is None
    patience.answered(look(2))
    assert patience.due(1.2) is None
    patience.asked(look(3), 1.3)
    patience.want("b")
    assert patience.due(1.3) == "b"


def test_when_there_is_no_patience_expect_no_waiting():
    patience = driving(most_s=0.0)
    patience.asked(look(2), 1.0)
    patience.want("a")
    assert patience.due(1.0) == "a"
