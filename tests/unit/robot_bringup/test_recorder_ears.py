# SPDX-License-Identifier: Apache-2.0
"""An episode that is to be learnt from begins when its recorder hears everyone."""

from __future__ import annotations

from robot_bringup.core.recorder_ears import RecorderEars, Source

SOURCES = {"decision": Source("steering_node", 7), "executed": Source("arm_node", 5)}
BOTH = {("decision", 7): None, ("executed", 5): None}


def test_when_there_is_no_recorder_expect_nothing_missing_unless_there_must_be_one() -> None:
    ears = RecorderEars(2.0)
    assert ears.missing(SOURCES, None, 100.0) == ""
    assert "has not said whom it hears" in ears.missing(SOURCES, 3, 100.0)


def test_when_a_source_is_not_heard_expect_its_topic_and_name() -> None:
    ears = RecorderEars(2.0)
    ears.update(3, {("decision", 7): None, ("executed", 4): None}, 100.0)  # an arm that was started again since
    for recorder in (None, 3):
        assert ears.missing(SOURCES, recorder, 100.1) == (
            "the recorder of transitions does not hear executed of arm_node yet"
        )
    ears.update(3, BOTH, 100.2)
    assert ears.missing(SOURCES, 3, 100.3) == ears.missing(SOURCES, None, 100.3) == ""


def test_when_the_recorder_was_started_again_or_is_silent_expect_its_old_word_to_count_no_more() -> None:
    ears = RecorderEars(2.0)
    ears.update(3, BOTH, 100.0)
    assert "has not said" in ears.missing(SOURCES, 4, 100.1)
    assert "has not said" in ears.missing(SOURCES, 3, 102.1)
    assert ears.missing(SOURCES, None, 102.1) == ""
