# SPDX-License-Identifier: Apache-2.0
"""Reading evidence that a kill may have cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.armlog import Command, LogTail, after, arm_command, drive_command, moved, read_lines, step_size


def test_when_last_line_is_cut_expect_the_whole_ones(tmp_path: Path) -> None:
    path = tmp_path / "drive.jsonl"
    path.write_text('{"event": "command", "t_ns": 1, "values": [0.5]}\n{"event": "command", "t_n')
    assert LogTail(path, drive_command).read() == [Command(1, (0.5,))]


def test_when_a_line_in_the_middle_is_broken_expect_an_error(tmp_path: Path) -> None:
    path = tmp_path / "drive.jsonl"
    path.write_text('{"event": "co\n{"event": "command", "t_ns": 1, "values": [0.5]}\n')
    with pytest.raises(ValueError, match="Unterminated"):
        read_lines(path)


def test_when_there_is_no_file_expect_no_commands(tmp_path: Path) -> None:
    assert LogTail(tmp_path / "none.jsonl", drive_command).read() == []


def test_when_other_events_are_logged_expect_commands_alone(tmp_path: Path) -> None:
    path = tmp_path / "drive.jsonl"
    path.write_text('{"event": "timeout", "t_ns": 1}\n{"event": "command", "t_ns": 2, "values": [NaN]}\n')
    (command,) = LogTail(path, drive_command).read()
    assert command.values[0] != command.values[0]


def test_when_asked_what_moved_expect_changes_and_nan() -> None:
    log = [Command(0, (0.0,)), Command(1, (0.0,)), Command(2, (0.1,)), Command(3, (float("nan"),))]
    assert [command.t_ns for command in moved(log)] == [2, 3]
    assert [command.t_ns for command in after(log, 1)] == [2, 3]
    assert step_size(log[0], log[2]) == pytest.approx(0.1)


def test_when_the_log_grows_expect_only_what_is_new_to_be_read(tmp_path: Path) -> None:
    path = tmp_path / "arm.jsonl"
    line = '{"t_ns": %d, "epoch": 1, "episode": 2, "request": 3, "step": 4, "source": "policy", "q": [0.5]}'
    tail = LogTail(path, arm_command)
    path.write_text(line % 1 + "\n" + (line % 2)[:20])
    assert [command.t_ns for command in tail.read()] == [1]
    path.write_text(line % 1 + "\n" + line % 2 + "\n")
    assert [command.t_ns for command in tail.read()] == [1, 2]
    assert tail.read()[0] == Command(1, (0.5,), "policy", 1, 2, 3, 4)
