# SPDX-License-Identifier: Apache-2.0
"""The emergency stop of several sources."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from robot_bringup.core.estop import UNIDENTIFIED, EstopSources

PRESENT = {"a": "/panel", "b": "/pendant"}


def pressed_by(*sources: str) -> EstopSources:
    estop = EstopSources()
    for source in sources:
        estop.update(source, 1, pressed=True)
    estop.see(PRESENT)
    return estop


def test_when_the_other_button_says_false_expect_still_pressed():
    estop = pressed_by("a")
    estop.update("b", 7, pressed=False)
    assert estop.pressed and estop.text == "pressed by /panel"


def test_when_the_pressing_button_says_false_expect_a_release():
    estop = pressed_by("a")
    estop.update("a", 2, pressed=False)
    assert not estop.pressed and estop.text == ""


def test_when_a_release_older_than_the_press_arrives_late_expect_it_ignored():
    estop = EstopSources()
    estop.update("a", 3, pressed=True)
    estop.update("a", 2, pressed=False)
    assert estop.pressed


def test_when_a_source_vanishes_while_pressed_expect_pressed_until_forgotten():
    estop = pressed_by("a", "b")
    estop.see({"b": "/pendant"})
    assert estop.pressed and "/panel, which has vanished" in estop.text
    estop.forget_vanished()
    assert estop.text == "pressed by /pendant"


def test_when_a_source_vanishes_unpressed_expect_nothing_kept():
    estop = pressed_by("a")
    estop.update("a", 2, pressed=False)
    estop.see({})
    estop.update("b", 1, pressed=True)
    estop.forget_vanished()
    assert estop.text == "pressed by b"


def test_when_nobody_knows_the_publisher_expect_it_never_taken_for_vanished():
    estop = pressed_by(UNIDENTIFIED)
    estop.forget_vanished()
    assert estop.pressed


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_when_any_source_said_true_last_expect_pressed(words: list[tuple[str, bool]]):
    estop, last = EstopSources(), {}
    for order, (source, pressed) in enumerate(words):
        estop.update(source, order, pressed=pressed)
        last[source] = pressed
    assert estop.pressed == any(last.values())
