# SPDX-License-Identifier: Apache-2.0
"""`whetstone train` and `whetstone eval --run` where no stack is needed."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rich.console import Console

from fakes.train_episodes import episode
from robot_bringup.cli import train, trained
from robot_bringup.cli.curve import write_curve
from robot_bringup.cli.errors import UserError
from robot_bringup.cli.evaluate import EvalOptions
from robot_bringup.cli.method_file import read_method_file
from robot_bringup.cli.options import StackOptions, Training
from robot_bringup.cli.stack import launch_command
from robot_bringup.cli.train import RunSettings, TrainOptions
from robot_bringup.cli.training_screen import figures
from robot_bringup.cli.training_watch import report_of
from robot_bringup.core.report import Evaluation, rows_of
from robot_bringup.core.training import FIRST_TRAINING_SEED, Budget, TrainingLog, tally

SETTINGS = RunSettings("pick_place", "expo", 3, operator="scripted")


def options(folder: Path, settings: RunSettings = SETTINGS, minutes: float = 0.05) -> TrainOptions:
    return TrainOptions("mine", folder, settings, Budget(minutes))


def spent(folder: Path) -> None:
    """A run that has used up what `options` gives it."""
    log = TrainingLog(folder / "mine" / "episodes.jsonl")
    log.append(episode(1))


def test_when_the_budget_is_spent_expect_the_curve_and_no_stack(tmp_path: Path) -> None:
    spent(tmp_path)
    summary = train.run(options(tmp_path))
    assert (summary["episodes"], summary["steps"]) == (1, 100)
    assert cv2.imread(str(tmp_path / "mine" / "curve.png")).shape == (720, 1080, 3)
    assert train.read_settings(tmp_path / "mine") == SETTINGS


def test_when_a_run_is_continued_with_other_settings_expect_refusal_that_names_them(tmp_path: Path) -> None:
    spent(tmp_path)
    train.run(options(tmp_path))
    with pytest.raises(UserError, match="seed: 3, now 4"):
        train.run(options(tmp_path, replace(SETTINGS, seed=4)))


def test_when_there_is_no_such_run_expect_those_that_there_are(tmp_path: Path) -> None:
    spent(tmp_path)
    train.run(options(tmp_path))
    with pytest.raises(UserError, match="Runs: mine"):
        train.read_settings(tmp_path / "yours")


def test_when_a_run_is_evaluated_on_scenes_of_training_expect_refusal(tmp_path: Path) -> None:
    wanted = EvalOptions(10, FIRST_TRAINING_SEED - 9)
    with pytest.raises(UserError, match="for training"):
        trained.run("mine", tmp_path, wanted, paired=False, json=None, csv=None, log=tmp_path / "log")


def test_when_a_run_trains_expect_launch_arguments_that_the_file_knows_and_its_nodes(tmp_path: Path) -> None:
    stack = options(tmp_path).stack
    launch_file = Path(launch_command("whetstone.launch.xml", {})[3]).read_text(encoding="utf-8")
    for name in stack.arguments:
        assert f'<arg name="{name}"' in launch_file
    assert (stack.arguments["operator"], stack.arguments["expert"], stack.arguments["supervise"]) == (
        "scripted", "true", "true",
    )  # fmt: skip
    assert {"transition_node", "learner_node"} < set(stack.nodes)


class SlowGraph:
    """Stands in for the client of a stack in which an episode takes a while to reach the learner."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.played = self.arrived = 0
        self._turns = 0

    def subscribe(self, kind: type, _topic: str, callback: Callable[[Any], None], _profile: Any) -> None:
        if kind is DiagnosticArray:
            self._diagnose = callback

    def spin_until(self, condition: Callable[[], bool], _timeout_s: float) -> bool:
        self.arrived = self.played if self._turns else self.arrived
        self._turns += 1
        values = [KeyValue(key="episodes", value=str(self.arrived))]
        self._diagnose(DiagnosticArray(status=[DiagnosticStatus(name="learner_node", values=values)]))
        return condition()

    def evaluate(self, _client: Any, task: str, wanted: EvalOptions, _feedback: Any) -> Evaluation:
        self.played, self._turns = self.played + 1, 0
        rows = rows_of(task, "", seeds=[wanted.seed], outcomes=["succeeded"], steps=[40], durations_s=[2.0])
        return Evaluation(task, "", rows, 1.0)


def test_when_the_last_episode_of_a_session_ends_expect_the_stack_open_until_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = SlowGraph()
    monkeypatch.setattr(train, "running_client", lambda *_, **__: nullcontext(graph))
    monkeypatch.setattr(train, "evaluate", graph.evaluate)
    assert train.run(options(tmp_path))["episodes"] == 2
    assert (graph.played, graph.arrived) == (2, 2)


class Tuned:
    """A run whose stacks are only asked for, and whose VLA is fine-tuned by a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, problem: str = "") -> None:
        self.folder, self.problem, graph = folder, problem, SlowGraph()
        self.stacks: list[dict[str, str]] = []
        monkeypatch.setattr(
            train, "running_client", lambda stack, log, **__: nullcontext(self._asked(stack, log, graph))
        )
        monkeypatch.setattr(train, "evaluate", graph.evaluate)
        monkeypatch.setattr(train.tuning, "tune", self._tune)
        monkeypatch.setattr(train.tuning, "distil", self._distil)
        self.at: list[int] = []
        self.graph = graph

    def _asked(self, stack: StackOptions, log: Path, graph: SlowGraph) -> SlowGraph:
        self.stacks.append(stack.arguments)
        log.touch(exist_ok=False)
        return graph

    def _tune(self, folder: Path, _begun_with: str, _robot: str) -> None:
        self.at.append(self.graph.played)
        if self.problem:
            raise UserError(self.problem)
        (folder / "model").mkdir()

    def _distil(self, folder: Path, _begun_with: str, _robot: str) -> None:
        self.at.append(self.graph.played)
        shutil.rmtree(folder / "distilled", ignore_errors=True)
        (folder / "distilled").mkdir()


def test_when_a_run_is_fine_tuned_half_way_expect_what_was_recorded_and_the_rest_with_its_own_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, tuned = options(tmp_path, replace(SETTINGS, finetune_at=0.5), 0.1), Tuned(tmp_path, monkeypatch)
    assert train.run(wanted)["episodes"] == 3
    assert tuned.at == [2]
    first, second = tuned.stacks
    assert first["record_dir"] == str(tmp_path / "mine" / "mcap") and "model_dir" not in first
    assert second["model_dir"] == str(tmp_path / "mine" / "model") and "record" not in second
    train.run(wanted)
    assert len(tuned.stacks) == 2 and len(tuned.at) == 1
    assert sorted(log.name for log in (tmp_path / "mine").glob("*.log")) == ["stack_1.log", "stack_2.log"]


def test_when_a_run_is_distilled_expect_all_of_it_recorded_and_the_new_vla_played_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, finetune_at=0.5, distil=True)
    tuned = Tuned(tmp_path, monkeypatch)
    train.run(options(tmp_path, settings, 0.1))
    assert tuned.at == [2, 3]
    assert [stack["record"] for stack in tuned.stacks] == ["true", "true"]
    played = trained.run_stack("mine", tmp_path, settings)
    assert played.arguments["model_dir"] == str(tmp_path / "mine" / "distilled")
    assert played.training is None and played.n_candidates == 1
    other = trained.run_stack("mine", tmp_path, settings, str(tmp_path / "other"))
    assert other.training is not None
    train.run(options(tmp_path, settings, 0.1))
    assert tuned.at == [2, 3], "nothing new to distil"
    train.run(options(tmp_path, settings, 0.15))
    assert tuned.at == [2, 3, 5]
    os.utime(tmp_path / "mine" / "distilled", (0, 0))
    train.run(options(tmp_path, settings, 0.15))
    assert tuned.at == [2, 3, 5, 5], "it was interrupted while it was distilled anew"


def test_when_there_is_nothing_to_fine_tune_on_expect_the_run_to_go_on_with_the_model_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = Tuned(tmp_path, monkeypatch, problem="no window: nothing to learn from")
    assert train.run(options(tmp_path, replace(SETTINGS, finetune_at=0.5), 0.1))["episodes"] == 3
    assert ["model_dir" in stack for stack in tuned.stacks] == [False, False]


def test_when_a_run_has_a_model_of_its_own_expect_it_evaluated_with_that(tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    own = trained.run_stack("mine", tmp_path, SETTINGS).arguments["model_dir"]
    assert own == str(tmp_path / "mine" / "model")
    other = trained.run_stack("mine", tmp_path, SETTINGS, str(tmp_path / "other")).arguments["model_dir"]
    assert other == str(tmp_path / "other")
    assert "model_dir" not in trained.base_stack(SETTINGS).arguments


@pytest.mark.parametrize(("pace", "patience_s"), [("lockstep", "0.5"), ("realtime", None)])
def test_when_a_scripted_person_helps_expect_looks_at_them_and_patience_only_where_the_world_waits(
    tmp_path: Path, pace: str, patience_s: str | None
) -> None:
    arguments = options(tmp_path, replace(SETTINGS, pace=pace)).stack.arguments
    assert (arguments["look_stride"], arguments["look_always"]) == ("2", "false")
    assert arguments.get("scripted_patience_s") == patience_s
    alone = options(tmp_path, replace(SETTINGS, pace=pace, operator="none")).stack.arguments
    assert not {"look_stride", "look_always", "scripted_patience_s"} & set(alone)


def test_when_a_methods_file_says_how_to_act_expect_the_stack_to_be_told(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("expo: {best_of: 3}\nschedule: {discount: 0.9}\n")
    stack = options(tmp_path, replace(SETTINGS, method_file=str(file))).stack
    assert (stack.arguments["gamma"], stack.arguments["n_candidates"]) == ("0.9", "3")
    assert stack.arguments["method_file"] == str(file)


@pytest.mark.parametrize(("method", "words"), [("guess", "expo"), ("dsrl", "no block 'dsrl'")])
def test_when_a_method_is_not_there_expect_refusal_that_helps(tmp_path: Path, method: str, words: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("expo: {}\n")
    with pytest.raises(UserError, match=words):
        read_method_file(method, None if method == "guess" else file)


def test_when_a_run_is_evaluated_expect_nothing_stored_nobody_helping_and_no_exploring(tmp_path: Path) -> None:
    stack = train.stack_of(SETTINGS, Training("mine", str(tmp_path), 3, freeze=True))
    assert (stack.arguments["freeze"], stack.arguments["explore"]) == ("true", "false")
    assert "operator" not in stack.arguments
    assert "learner_node" in stack.nodes and "transition_node" not in stack.nodes


def test_when_base_and_run_are_compared_expect_pairs_by_scene_without_aborted_episodes() -> None:
    def evaluation(outcomes: list[str]) -> Evaluation:
        count = len(outcomes)
        rows = rows_of("stack", "", seeds=range(count), outcomes=outcomes, steps=[9] * count, durations_s=[1.0] * count)
        return Evaluation("stack", "", rows, 1.0)

    base = evaluation(["succeeded", "failed", "aborted", "failed"])
    better = evaluation(["succeeded", "succeeded", "succeeded", "aborted"])
    paired = trained.Comparison("mine", better, base).paired
    assert paired is not None
    assert (paired.both, paired.first_only, paired.second_only, paired.neither) == (1, 0, 1, 0)
    assert trained.Comparison("mine", better, None).figures()["mcnemar"] is None


def test_when_the_learner_reports_expect_its_figures_and_nonsense_left_out() -> None:
    report = report_of({"updates": "120", "q_mean": "nan", "behind": "x", "finished": "true", "updates_per_s": "40.5"})
    assert (report.updates, report.behind, report.finished, report.updates_per_s) == (120, 0.0, True, 40.5)
    assert math.isnan(report.q_mean)


def test_when_the_learner_has_diverged_expect_the_reason_and_while_it_waits_for_data_none() -> None:
    assert report_of({"waiting": "diverged", "problem": "loss is nan"}).halt == "diverged: loss is nan"
    assert report_of({"waiting": "data", "problem": "a step was refused"}).halt == ""


def test_when_figures_are_shown_expect_success_help_and_updates() -> None:
    console = Console(width=120, record=True, file=None)
    so_far = tally([episode(n, human_steps=25) for n in range(1, 5)])
    console.print(figures(so_far, report_of({"updates": "77", "waiting": "for data"}), Budget(19.0, 11000)))
    text = console.export_text()
    for word in ("400/11000", "0.3 of 19 min", "100 %", "25 %", "77", "for data"):
        assert word in text


def test_when_nothing_was_chosen_or_judged_expect_a_picture_all_the_same(tmp_path: Path) -> None:
    write_curve(tmp_path / "curve.png", "nothing", [episode(1, "aborted", decisions=0, edited=0)])
    assert (tmp_path / "curve.png").stat().st_size > 5000
