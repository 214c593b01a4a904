# SPDX-License-Identifier: Apache-2.0
"""What the console knows of the robot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operator_console.core.audit_log import AuditLog
from operator_console.core.session import Session
from operator_console.web import tables
from whetstone_common.core.enums import Actor, Outcome
from whetstone_common.core.reason import Reason, State


def test_when_nothing_was_heard_expect_an_empty_snapshot_that_can_be_shown() -> None:
    snapshot = Session().snapshot(0.0)
    assert snapshot.nodes == () and snapshot.rate.episodes == 0
    assert dict(tables.episode_rows(snapshot))["success rate"] == "no judged episode yet"
    assert "No node has been heard" in tables.node_table(snapshot.nodes)


def test_when_nodes_speak_expect_state_and_reason_in_words_and_silence_is_shown() -> None:
    session = Session()
    session.on_status("arm_node", State.STOPPED, Reason.ESTOP, "pressed by /panel", 10.0)
    (node,) = session.snapshot(11.0).nodes
    assert node.words == "stopped, emergency stop: pressed by /panel" and not node.is_silent
    (node,) = session.snapshot(20.0).nodes
    assert node.is_silent and "silent for 10 s" in tables.node_table([node])


def test_when_episodes_end_expect_counts_an_interval_and_aborted_ones_judge_nothing() -> None:
    session = Session()
    for outcome in (Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.FAILED, Outcome.ABORTED):
        session.on_start("stack", "do it", 7)
        assert session.snapshot(0.0).episode.outcome is None
        session.on_end("stack", "do it", 7, outcome, "", 30.0)
    snapshot = session.snapshot(0.0)
    assert (snapshot.rate.successes, snapshot.rate.episodes) == (2, 3)
    assert snapshot.robot_min == pytest.approx(2.0)
    assert "2 of 3, 67 % (95 % interval 21 to 94 %)" in dict(tables.episode_rows(snapshot))["success rate"]


def test_when_steps_are_executed_expect_who_drives_and_the_human_share() -> None:
    session = Session()
    for actor in (Actor.POLICY, Actor.POLICY, Actor.POLICY, Actor.HUMAN):
        session.on_step(actor)
    assert session.snapshot(0.0).driver is Actor.HUMAN
    assert session.snapshot(0.0).human_share == 0.25


def test_when_requests_are_answered_expect_the_median_and_other_answers_do_not_count() -> None:
    session = Session()
    for request_id, took_s in ((1, 0.1), (2, 0.3), (3, 0.2)):
        session.on_request(request_id, 10.0)
        session.on_chunk(request_id - 1, 10.01, {})
        session.on_chunk(request_id, 10.0 + took_s, {"camera": 0.5, "prefix": 0.05})
    found = session.snapshot(0.0).latencies
    assert found["request to chunk"].median_ms == pytest.approx(200.0) and found["request to chunk"].count == 3
    assert found["transport"].median_ms == pytest.approx(150.0), "the age of an image was there before the request"


def test_when_words_off_the_wire_hold_markup_expect_it_is_escaped() -> None:
    session = Session()
    session.instruction = "<script>alert(1)</script>"
    session.on_status("<b>", State.READY, Reason.NONE, "<i>", 0.0)
    snapshot = session.snapshot(0.0)
    html = tables.figures_table(tables.episode_rows(snapshot)) + tables.node_table(snapshot.nodes)
    assert "<script>" not in html and "<b>" not in html and "<i>" not in html


def test_when_commands_are_given_expect_the_newest_first_and_every_one_in_the_file(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "new" / "commands.jsonl", lambda: "2026-01-01T00:00:00")
    log.add("a", "arm", "done")
    log.add("b", "reset", "refused: no")
    log.close()
    assert [entry.command for entry in log.newest] == ["reset", "arm"]
    lines = [json.loads(line) for line in (tmp_path / "new" / "commands.jsonl").read_text().splitlines()]
    assert [line["answer"] for line in lines] == ["done", "refused: no"]
