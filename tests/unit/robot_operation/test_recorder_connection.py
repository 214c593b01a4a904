# SPDX-License-Identifier: Apache-2.0
"""An episode that is to be learnt from begins when its recorder receives from everyone."""

from __future__ import annotations

from robot_operation.core.recorder_connection import RecorderConnection, RecordPublisher

SOURCES = {"decision": RecordPublisher("steering_node", 7), "executed": RecordPublisher("arm_node", 5)}
BOTH = {("decision", 7): None, ("executed", 5): None}


def test_when_there_is_no_recorder_expect_nothing_missing_unless_there_must_be_one() -> None:
    connection = RecorderConnection(2.0)
    assert connection.missing(SOURCES, None, 100.0) == ""
    assert "has not published its sources" in connection.missing(SOURCES, 3, 100.0)


def test_when_a_source_is_not_heard_expect_its_topic_and_name() -> None:
    connection = RecorderConnection(2.0)
    connection.update(3, {("decision", 7): None, ("executed", 4): None}, 100.0)  # an arm that was started again since
    for recorder in (None, 3):
        assert connection.missing(SOURCES, recorder, 100.1) == (
            "the recorder of transitions does not receive executed of arm_node yet"
        )
    connection.update(3, BOTH, 100.2)
    assert connection.missing(SOURCES, 3, 100.3) == connection.missing(SOURCES, None, 100.3) == ""


def test_when_the_recorder_was_started_again_or_is_silent_expect_its_old_sources_to_count_no_more() -> None:
    connection = RecorderConnection(2.0)
    connection.update(3, BOTH, 100.0)
    assert "has not published" in connection.missing(SOURCES, 4, 100.1)
    assert "has not published" in connection.missing(SOURCES, 3, 102.1)
    assert connection.missing(SOURCES, None, 102.1) == ""
