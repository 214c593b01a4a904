# SPDX-License-Identifier: Apache-2.0
"""Methods that train the VLA itself: commands of the CLI, done steps stay done, and a row counts steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

TOOLS = Path(__file__).resolve().parents[3] / "tools"
sys.path.append(str(TOOLS / "rl"))

import vla_training  # noqa: E402

from rl_methods.registry import method_names  # noqa: E402
from whetstone_cli.cli.main import app  # noqa: E402

METHODS = ("sft", "dagger", "recap", "distill", "ppo")


def run_of(method: str, folder: Path) -> vla_training.Run:
    return vla_training.Run(method, "pick_place", 0, folder, 11_000)


def figures(path: Path, *steps: int, successes: int = 0, wrapped: str = "") -> None:
    """What `whetstone eval` writes, of a run with that name around it."""
    rate = {"successes": successes, "episodes": 100, "rate": successes / 100}
    read: dict[str, Any] = {"success_rate": rate, "rows": [{"steps": count} for count in steps]}
    path.write_text(json.dumps({wrapped: read} if wrapped else read), encoding="utf-8")


def done(run: vla_training.Run, wall_s: float = 10.0) -> None:
    for step in run.steps:
        (run.folder / f"{step.name}.done").write_text(f"{wall_s}\n", encoding="utf-8")


@pytest.mark.parametrize("method", METHODS)
def test_when_a_method_is_run_expect_commands_that_the_command_line_knows(tmp_path: Path, method: str) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    (tmp_path / "run").mkdir()
    for step in run_of(method, tmp_path).steps:
        name, *words = step.words
        assert commands[name].make_context(name, list(words)) is not None
    assert method in method_names()


def test_when_a_step_was_done_expect_it_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: called.append(command))
    run = run_of("sft", tmp_path)
    for _ in range(2):
        for step in run.steps:
            vla_training.perform(step, run)
    assert [words[3] for words in called] == ["demos", "sft", "eval"]


def test_when_a_step_fails_expect_it_to_be_done_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **_: Any) -> None:
        raise subprocess.CalledProcessError(2, command)

    run = run_of("ppo", tmp_path)
    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(subprocess.CalledProcessError):
        vla_training.perform(run.steps[0], run)
    assert not list(tmp_path.glob("*.done"))


def test_when_a_run_was_evaluated_expect_a_row_that_counts_data_and_no_evaluations(tmp_path: Path) -> None:
    run = run_of("dagger", tmp_path)
    (tmp_path / "run").mkdir()
    lines = [
        {"steps": 60, "human_steps": 20, "evaluation": False},
        {"steps": 40, "human_steps": 5, "evaluation": False},
        {"steps": 50, "human_steps": 0, "evaluation": True},
    ]
    (tmp_path / "run" / "episodes.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    figures(tmp_path / "base.json", successes=76)
    figures(tmp_path / "after.json", successes=88, wrapped="trained")
    done(run)
    row = vla_training.row_of(run, tmp_path / "base.json")
    assert (row.base, row.after, row.control_steps, row.human_fraction) == (0.76, 0.88, 100, 0.25)
    assert (row.human, row.wall_s, row.where) == (1, 10.0, "graph")


def test_when_data_are_rollouts_and_demonstrations_expect_both_counted_and_only_the_expert_as_a_person(
    tmp_path: Path,
) -> None:
    run = run_of("recap", tmp_path)
    rate = {"successes": 1, "episodes": 1, "rate": 1.0}
    played = {"runs": [{"success_rate": rate, "rows": [{"steps": 50}]}]}
    (tmp_path / "demos.json").write_text(json.dumps(played), encoding="utf-8")
    figures(tmp_path / "first.json", 100)
    figures(tmp_path / "second.json", 30, 20)
    figures(tmp_path / "base.json", successes=76)
    figures(tmp_path / "after.json", successes=80)
    done(run)
    row = vla_training.row_of(run, tmp_path / "base.json")
    assert (row.control_steps, row.human_fraction, row.human) == (200, 0.25, 0)
