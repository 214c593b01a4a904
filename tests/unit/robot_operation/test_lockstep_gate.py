# SPDX-License-Identifier: Apache-2.0
"""Patience: a wish waits for the look, once, not for ever, and never behind a release."""

from __future__ import annotations

from dataclasses import replace

from robot_operation.core.lockstep_gate import LockstepGate
from whetstone_common.core.stamp import Stamp

MOST_S = 0.5


def query(request: int) -> Stamp:
    return Stamp(7, 1, request)


def driving(timeout_s: float = MOST_S) -> LockstepGate[str]:
    """A person whose first wish has gone out."""
    made: LockstepGate[str] = LockstepGate(timeout_s)
    made.put("first")
    assert made.due(0.0) == "first"
    return made


def test_when_nothing_is_looked_at_expect_each_wish_at_once_and_once():
    gate = driving()
    gate.put("a")
    assert [gate.due(0.1), gate.due(0.2)] == ["a", None]


def test_when_a_look_is_open_expect_the_newest_wish_once_after_its_answer():
    gate = driving()
    gate.on_query(query(2), 1.0)
    for message in ("a", "b"):
        gate.put(message)
        assert gate.due(1.1) is None
    # An answer carries the time of its observation, which the request did not know.
    gate.on_answer(replace(query(2), observation_ns=5))
    assert [gate.due(1.2), gate.due(1.3)] == ["b", None]
    gate.put("c")
    assert gate.due(1.4) == "c" and (gate.queries, gate.timed_out) == (1, 0)


def test_when_another_look_is_answered_expect_the_wish_to_wait_on():
    gate = driving()
    gate.on_query(query(3), 1.0)
    gate.put("a")
    gate.on_answer(query(2))
    assert gate.due(1.1) is None


def test_when_no_answer_comes_expect_the_wish_when_patience_is_over_and_a_count():
    gate = driving()
    gate.on_query(query(2), 1.0)
    gate.put("a")
    assert [gate.due(1.0 + MOST_S - 0.01), gate.due(1.0 + MOST_S)] == [None, "a"]
    assert gate.timed_out == 1
    gate.on_answer(query(2))
    gate.put("b")
    assert gate.due(1.6) == "b" and gate.timed_out == 1


def test_when_the_answer_overtakes_the_request_expect_no_waiting():
    gate = driving()
    gate.on_answer(query(2))
    gate.on_query(query(2), 1.0)
    gate.put("a")
    assert gate.due(1.0) == "a" and gate.queries == 0


def test_when_nobody_drives_yet_expect_a_look_to_hold_nothing_back():
    gate: LockstepGate[str] = LockstepGate(MOST_S)
    gate.on_query(query(2), 1.0)
    gate.put("a")
    assert gate.due(1.0) == "a"


def test_when_the_person_lets_go_expect_what_was_held_gone_and_the_next_takeover_at_once():
    gate = driving()
    gate.on_query(query(2), 1.0)
    gate.put("a")
    gate.release()
    assert gate.due(1.1) is None
    gate.on_answer(query(2))
    assert gate.due(1.2) is None
    gate.on_query(query(3), 1.3)
    gate.put("b")
    assert gate.due(1.3) == "b"


def test_when_there_is_no_patience_expect_no_waiting():
    gate = driving(timeout_s=0.0)
    gate.on_query(query(2), 1.0)
    gate.put("a")
    assert gate.due(1.0) == "a"
