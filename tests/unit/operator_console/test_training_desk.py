# SPDX-License-Identifier: Apache-2.0
"""What a page may start, and what is refused with a sentence before a process is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operator_console.core.commands import CommandRefusedError
from operator_console.core.run_order import RunOrder
from operator_console.core.session import Session
from operator_console.nodes.training_desk import TrainingDesk
from whetstone_cli.cli.run_folder import RunFolder
from whetstone_common.core.reason import Reason, State
from whetstone_common.core.run_session import RunSession, write_session

ORDER = RunOrder("mine", "pick_place", "expo", minutes=1.0)


def desk(folder: Path, *nodes: str) -> TrainingDesk:
    session = Session()
    for name in nodes:
        session.on_status(name, State.READY, Reason.NONE, "", 0.0)
    return TrainingDesk(folder, lambda what, text: None, lambda: session.snapshot(0.0))


def write_run(folder: Path, *, is_finished: bool = False) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"task": "pick_place", "method": "expo"}), encoding="utf-8")
    write_session(folder, RunSession(1.0, is_finished=is_finished))


def test_when_a_real_arm_runs_beside_the_console_expect_the_command_to_use_instead(tmp_path: Path) -> None:
    with pytest.raises(CommandRefusedError, match="whetstone up sim:=false train:=true"):
        desk(tmp_path, "arm_node").start(ORDER)
    assert not list(tmp_path.iterdir())


def test_when_another_process_trains_a_run_expect_a_second_one_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "first")
    with RunFolder(tmp_path / "first"), pytest.raises(CommandRefusedError, match="'first' is being trained"):
        desk(tmp_path, "arm_node", "sim_node").start(ORDER)


def test_when_the_name_is_taken_expect_a_sentence(tmp_path: Path) -> None:
    write_run(tmp_path / "mine")
    with pytest.raises(CommandRefusedError, match="choose another name"):
        desk(tmp_path).start(ORDER)


def test_when_a_finished_or_unknown_run_is_resumed_expect_refusal(tmp_path: Path) -> None:
    write_run(tmp_path / "mine", is_finished=True)
    with pytest.raises(CommandRefusedError, match="used up its budget"):
        desk(tmp_path).resume("mine")
    with pytest.raises(CommandRefusedError, match="no run 'other'"):
        desk(tmp_path).resume("other")


def test_when_nothing_is_trained_expect_nothing_to_stop(tmp_path: Path) -> None:
    with pytest.raises(CommandRefusedError, match="runs no training"):
        desk(tmp_path).stop()
