# SPDX-License-Identifier: Apache-2.0
"""Reading evidence that a kill may have cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.armlog import Command, after, moved, read_drive_log, read_lines, step_size


def test_when_last_line_is_cut_expect_the_whole_ones(tmp_path: Path) -> None:
    path = tmp_path / "drive.jsonl"
    path.write_text('{"event": "command", "t_ns": 1, "values": [0.5]}\n{"event": "command", "t_n')
    assert read_drive_log(path) == [Command(1, (0.5,))]


def test_when_a_line_in_the_middle_is_broken_expect_an_error(tmp_path: Path) -> None:
    path = tmp_path / "drive.jsonl"
    path.write_text('{"event": "co\n{"event": "command", "t_ns": 1, "values": [0.5]}\n')
    with pytest.raises(ValueError, match="Unterminated"):
        read_lines(path)


def test_when_there_is_no_file_expect_no_commands(tmp_path: Path) -> None:
    assert read_drive_log(tmp_path / "none.jsonl") == []


def test_when_other_events_are_logged_expect_commands_alone(tmp_path: Path) -> None:
    path = tmp_path / "drive.jsonl"
    path.write_text('{"event": "timeout", "t_ns": 1}\n{"event": "command", "t_ns": 2, "values": [NaN]}\n')
    (command,) = read_drive_log(path)
    assert command.values[0] != command.values[0]


def test_when_asked_what_moved_expect_changes_and_nan() -> None:
    log = [Command(0, (0.0,)), Command(1, (0.0,)), Command(2, (0.1,)), Command(3, (float("nan"),))]
    assert [command.t_ns for command in moved(log)] == [2, 3]
    assert [command.t_ns for command in after(log, 1)] == [2, 3]
    assert step_size(log[0], log[2]) == pytest.approx(0.1)
