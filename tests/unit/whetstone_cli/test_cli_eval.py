# SPDX-License-Identifier: Apache-2.0
"""`whetstone eval` where no stack is needed: what was asked for, what was judged, and outputs each for itself."""

from __future__ import annotations

import csv
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from vla_interfaces.msg import EpisodeEvent

from fakes.evaluations import evaluation_of
from whetstone_cli.cli import evaluate as command
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import BrokenOffError, EvalOptions, EvalOutputs
from whetstone_cli.cli.main import app
from whetstone_cli.cli.options import StackOptions
from whetstone_cli.core import report


class Graph:
    """Stands in for the client of a stack that plays.

    Attributes:
        events: Ends of episodes that were heard of.
        dies_after: Ends that are heard before the stack ends.
        end: How it ends.
    """

    def __init__(self, dies_after: int = 0, end: BaseException | None = None) -> None:
        self.events: list[EpisodeEvent] = []
        self.dies_after = dies_after
        self.end = end or UserError("the stack ended with exit code 1; its last words:\n\nwhy")

    def trouble(self) -> str:
        """Nobody holds."""
        return ""

    def run_episodes(self, goal: Any, _feedback: Any) -> Any:
        """Play, and end with the stack."""
        for number in range(1, self.dies_after + 1):
            seed = goal.first_seed + number - 1
            self.events.append(EpisodeEvent(event=EpisodeEvent.STARTED, seed=seed, episode=number))
            self.events.append(
                EpisodeEvent(event=EpisodeEvent.SUCCEEDED, seed=seed, episode=number, steps=30, duration_s=1.5)
            )
        raise self.end


def plays(monkeypatch: pytest.MonkeyPatch, signs: str) -> list[str]:
    """Let a stack play these outcomes; returns what was played."""
    played: list[str] = []

    def evaluate(_client: Any, task: str, options: EvalOptions, _feedback: Any) -> Any:
        played.append(task)
        made = evaluation_of(signs, options.seed, task)
        return report.Evaluation(task, "", made.rows, 1.0, "gave up: vla_node is silent", options.episodes)

    monkeypatch.setattr(command, "running_client", lambda *_, **__: nullcontext(Graph()))
    monkeypatch.setattr(command, "evaluate", evaluate)
    return played


def run(folder: Path, episodes: int = 4, **outputs: Path) -> Any:
    return command.run(
        StackOptions("stack"), EvalOptions(episodes), EvalOutputs(**outputs), attach=False, log=folder / "eval.log"
    )


@pytest.mark.parametrize(
    ("signs", "words"),
    [
        ("+aaa", "1 of 4 episodes were judged, 3 were aborted, 0 not run: gave up: vla_node is silent"),
        ("+-", "2 of 4 episodes were judged, 0 were aborted, 2 not run"),
        ("aa", "0 of 4 episodes were judged, 2 were aborted, 2 not run"),
    ],
)
def test_when_fewer_are_judged_than_asked_for_expect_an_error_with_both_and_the_figures_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signs: str, words: str
) -> None:
    plays(monkeypatch, signs)
    with pytest.raises(UserError, match=words):
        run(tmp_path, json=tmp_path / "e.json", csv=tmp_path / "e.csv")
    figures = json.loads((tmp_path / "e.json").read_text())
    assert (figures["asked"], figures["episodes"]) == (4, len(signs))
    assert len(list(csv.DictReader((tmp_path / "e.csv").open()))) == len(signs)


def test_when_all_are_judged_expect_no_complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plays(monkeypatch, "+-+-")
    assert run(tmp_path).shortfall == ""


def test_when_interrupted_expect_the_episodes_so_far_shown_and_written_and_the_interruption_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "running_client", lambda *_, **__: nullcontext(Graph(3, KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 20, json=tmp_path / "e.json", csv=tmp_path / "e.csv")
    figures = json.loads((tmp_path / "e.json").read_text())
    assert (figures["asked"], figures["success_rate"]["successes"]) == (20, 3)
    assert len(list(csv.DictReader((tmp_path / "e.csv").open()))) == 3
    said = capsys.readouterr().out
    assert "3/3" in said and "3 of 20 episodes were judged" in " ".join(said.split())


def test_when_interrupted_before_the_first_episode_expect_nothing_but_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "running_client", lambda *_, **__: nullcontext(Graph(0, KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, json=tmp_path / "e.json")
    assert not (tmp_path / "e.json").exists()


@pytest.mark.parametrize("name", ["json", "csv", "film"])
def test_when_an_output_cannot_be_made_expect_refusal_before_an_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    played = plays(monkeypatch, "++++")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        run(tmp_path, **{name: tmp_path / "file" / "out"})
    assert played == []


def test_when_one_output_fails_at_the_end_expect_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plays(monkeypatch, "++++")
    monkeypatch.setattr(command.files, "check_files", lambda *_: None)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"not written: .*out\.json"):
        run(tmp_path, json=tmp_path / "file" / "out.json", csv=tmp_path / "e.csv")
    assert (tmp_path / "e.csv").is_file()


def test_when_the_stack_ends_on_the_way_expect_the_episodes_before_it() -> None:
    with pytest.raises(BrokenOffError) as broken:
        command.evaluate(Graph(dies_after=2), "stack", EvalOptions(20, 5), lambda _feedback: None)
    evaluation = broken.value.evaluation
    assert [(row.seed, row.outcome, row.steps) for row in evaluation.rows] == [
        (5, "succeeded", 30),
        (6, "succeeded", 30),
    ]
    assert evaluation.shortfall.startswith("2 of 20 episodes were judged, 0 were aborted, 18 not run: the stack ended")


def test_when_the_stack_ends_before_the_first_episode_expect_its_last_words() -> None:
    with pytest.raises(UserError, match="why") as broken:
        command.evaluate(Graph(), "stack", EvalOptions(20, 5), lambda _feedback: None)
    assert not isinstance(broken.value, BrokenOffError)


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "--seed", "4294967295", "--episodes", "2"],
        ["demos", "--seed", "4294967295"],
        ["demo", "--seed", "4294967295"],
    ],
)
def test_when_seeds_end_behind_the_last_one_expect_refusal_before_anything_starts(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, UserError)
    assert "seeds are 0..4294967295" in str(result.exception)


@pytest.mark.parametrize("other", [["--attach"], ["--run", "mine"]])
@pytest.mark.parametrize("words", [["--record", "data"], ["--guidance", "2"]])
def test_when_a_stack_of_somebody_else_should_do_otherwise_expect_refusal(words: list[str], other: list[str]) -> None:
    result = CliRunner().invoke(app, ["eval", *words, *other])
    assert result.exit_code == 2
    assert words[0] in result.output


@pytest.mark.parametrize(("words", "wanted"), [([], None), (["--guidance", "0"], "0.0"), (["--guidance", "2"], "2.0")])
def test_when_guidance_is_given_expect_it_among_the_launch_arguments(
    monkeypatch: pytest.MonkeyPatch, words: list[str], wanted: str | None
) -> None:
    started: list[StackOptions] = []
    monkeypatch.setattr(command, "run", lambda stack, *_, **__: started.append(stack))
    result = CliRunner().invoke(app, ["eval", *words])
    assert result.exit_code == 0, result.output
    assert started[0].arguments.get("guidance") == wanted


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--seed", "4194"],
        ["train", "--minutes", "nan"],
        ["train", "--max-steps", "100000001"],
        ["eval", "--max-steps", "5000000000"],
        ["demo", "--budget-s", "nan"],
        ["demo", "--train-minutes", "inf"],
        ["finetune", "x", "--out", "y", "--steps", "0"],
    ],
)
def test_when_a_number_would_break_later_expect_it_refused_by_name(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert next(word for word in words if word.startswith("--") and word != "--out") in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--film", "out/eval.avi"], "the ending is '.avi', allowed: .gif and .mp4"),
        (["--gif", "out/eval.gif"], "this option is now called --film"),
        (["--video", "out/eval.mp4"], "this option is now called --film"),
    ],
)
def test_when_a_film_cannot_be_made_as_asked_expect_refusal_with_what_can(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["eval", *words], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert said in result.output
