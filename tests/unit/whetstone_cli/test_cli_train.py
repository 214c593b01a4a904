# SPDX-License-Identifier: Apache-2.0
"""`whetstone train` and `whetstone eval --run` where no stack is needed."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from rich.console import Console
from typer.testing import CliRunner
from vla_interfaces.msg import LearnerStatus

from fakes.train_episodes import episode
from fakes.train_graph import SlowGraph
from rl_methods.config import Schedule
from whetstone_cli.cli import run_settings, train, trained, training_session
from whetstone_cli.cli.curve import write_curve
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import EvalOptions, EvalOutputs
from whetstone_cli.cli.main import app
from whetstone_cli.cli.method_file import method_path, read_method_file
from whetstone_cli.cli.options import StackOptions, Training
from whetstone_cli.cli.run_folder import RunFolder
from whetstone_cli.cli.run_settings import RunSettings, TrainOptions
from whetstone_cli.cli.stack import launch_command
from whetstone_cli.cli.training_screen import figures
from whetstone_cli.cli.training_watch import report_of
from whetstone_cli.core.report import Evaluation, rows_of
from whetstone_cli.core.training import FIRST_TRAINING_SEED, Budget, TrainingLog
from whetstone_common.core.enums import Outcome
from whetstone_common.core.training_log import summarize

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
    assert run_settings.read_settings(tmp_path / "mine") == SETTINGS


def test_when_a_run_is_continued_with_other_settings_expect_refusal_that_names_them(tmp_path: Path) -> None:
    spent(tmp_path)
    train.run(options(tmp_path))
    with pytest.raises(UserError, match="seed: 3, now 4"):
        train.run(options(tmp_path, replace(SETTINGS, seed=4)))


def test_when_there_is_no_such_run_expect_those_that_there_are(tmp_path: Path) -> None:
    spent(tmp_path)
    train.run(options(tmp_path))
    with pytest.raises(UserError, match="Runs: mine"):
        run_settings.read_settings(tmp_path / "yours")


def test_when_a_run_is_evaluated_on_scenes_of_training_expect_refusal(tmp_path: Path) -> None:
    wanted = EvalOptions(10, FIRST_TRAINING_SEED - 9)
    with pytest.raises(UserError, match="for training"):
        trained.run("mine", tmp_path, wanted, EvalOutputs(), paired=False, log=tmp_path / "log")


def test_when_a_run_trains_expect_launch_arguments_that_the_file_knows_and_its_nodes(tmp_path: Path) -> None:
    stack = options(tmp_path).stack
    launch_file = Path(launch_command("whetstone.launch.xml", {})[3]).read_text(encoding="utf-8")
    for name in stack.arguments:
        assert f'<arg name="{name}"' in launch_file
    assert (stack.arguments["operator"], stack.arguments["expert"], stack.arguments["supervise"]) == (
        "scripted", "true", "true",
    )  # fmt: skip
    assert {"transition_node", "learner_node"} < set(stack.nodes)


def test_when_the_last_episode_of_a_session_ends_expect_the_stack_open_until_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = SlowGraph()
    monkeypatch.setattr(train, "running_client", lambda *_, **__: nullcontext(graph))
    monkeypatch.setattr(training_session, "evaluate", graph.evaluate)
    assert train.run(options(tmp_path))["episodes"] == 2
    assert (graph.played, graph.arrived) == (2, 2)


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> SlowGraph:
    """The stack of every run of a test."""
    made = SlowGraph()
    monkeypatch.setattr(train, "running_client", lambda *_, **__: nullcontext(made))
    monkeypatch.setattr(training_session, "evaluate", made.evaluate)
    return made


def test_when_storage_is_not_ready_expect_no_episode_and_its_reason(
    tmp_path: Path, graph: SlowGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.full = "transition_node is holding, disk full: 299.8 MB free"
    with pytest.raises(UserError, match=r"nothing more is kept: transition_node is holding, disk full: 299.8 MB free"):
        train.run(options(tmp_path))
    assert graph.played == 0
    assert "0 episodes" in capsys.readouterr().out
    assert not (tmp_path / "mine" / "run.json").exists(), "it would block the next start with other settings"


def test_when_an_episode_is_not_stored_expect_it_said_not_counted_and_the_end_to_be_an_error(
    tmp_path: Path, graph: SlowGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.loses = {1}
    with pytest.raises(UserError, match="2 of 3 episodes of this session were stored"):
        train.run(options(tmp_path), tmp_path / "out.json")
    said = capsys.readouterr().out
    assert "episode 1 was not stored" in said and "3 episodes, 1 of them not stored and not counted" in said
    log = TrainingLog(tmp_path / "mine" / "episodes.jsonl")
    assert [each.stored for each in log.episodes] == [False, True, True]
    assert json.loads((tmp_path / "out.json").read_text())["lost"] == 1
    assert train.run(options(tmp_path))["steps"] == 80, "nothing was lost in this session"


def test_when_episodes_in_a_row_are_not_stored_expect_the_run_to_end(tmp_path: Path, graph: SlowGraph) -> None:
    graph.loses = {2, 3, 4}
    with pytest.raises(UserError, match="2 episodes in a row were not stored"):
        train.run(options(tmp_path, minutes=1.0))
    assert graph.played == 3


def test_when_the_learner_is_in_error_expect_its_words_at_once(tmp_path: Path, graph: SlowGraph) -> None:
    graph.failure = "learner_node is in error, bad parameter: prior: proprio has shape (0,)"
    with pytest.raises(UserError, match=r"learner_node is in error, bad parameter: prior: proprio has shape \(0,\)"):
        train.run(options(tmp_path))
    assert graph.played == 0


def test_when_the_learner_dies_and_is_started_again_expect_that_said_and_the_run_to_go_on(
    tmp_path: Path, graph: SlowGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.dies_in = 1
    assert train.run(options(tmp_path))["episodes"] == 2
    assert "learner_node has died and was started again" in capsys.readouterr().out
    assert graph.arrived == 2


@pytest.mark.parametrize("last", [1, 2])
def test_when_the_learner_dies_and_stays_dead_expect_an_end_that_says_so(
    tmp_path: Path, graph: SlowGraph, last: int
) -> None:
    graph.dies_in, graph.comes_back = last, False
    with pytest.raises(UserError, match="learner_node has said nothing"):
        train.run(options(tmp_path))
    assert graph.played == last
    assert (tmp_path / "mine" / "curve.png").is_file()


def test_when_a_run_is_trained_already_expect_refusal_that_names_the_process_and_nothing_written(
    tmp_path: Path, graph: SlowGraph
) -> None:
    spent(tmp_path)
    with RunFolder(tmp_path / "mine"):
        before = {path: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
        with pytest.raises(UserError, match=rf"'mine' is being trained by process {os.getpid()} on .* since 20"):
            train.run(options(tmp_path))
        assert {path: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == before
    assert train.run(options(tmp_path))["episodes"] == 1


@pytest.mark.parametrize(
    ("settings", "minutes", "words"),
    [
        (replace(SETTINGS, seed=99_999_999), 0.05, "seed 99999999.*allowed are 0..4193"),
        (replace(SETTINGS, task="juggle"), 0.05, "no task 'juggle'"),
        (SETTINGS, math.nan, "minutes is nan"),
        (SETTINGS, math.inf, "minutes is inf"),
    ],
)
def test_when_a_start_is_refused_expect_nothing_left_of_it(
    tmp_path: Path, settings: RunSettings, minutes: float, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        train.run(options(tmp_path, settings, minutes))
    assert not list(tmp_path.iterdir())


def test_when_a_stack_does_not_start_expect_its_output_and_a_name_that_other_settings_may_use(
    tmp_path: Path, graph: SlowGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"

    def fails(_stack: StackOptions, log: Path, **_named: Any) -> Any:
        log.write_text("why")
        (folder / "transitions").mkdir()
        (folder / "version.json").touch()
        raise UserError("vla_node (ERROR MODEL_FAILURE)")

    with monkeypatch.context() as broken:
        broken.setattr(train, "running_client", fails)
        for _ in range(2):
            with pytest.raises(UserError, match="MODEL_FAILURE"):
                train.run(options(tmp_path, replace(SETTINGS, model_dir="wrong")))
    assert sorted(path.name for path in folder.iterdir()) == ["stack_1.log", "stack_2.log"]
    assert train.run(options(tmp_path))["episodes"] == 2
    assert run_settings.read_settings(folder) == SETTINGS


def test_when_the_figures_cannot_be_written_expect_refusal_before_an_episode(tmp_path: Path, graph: SlowGraph) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file/out\.json"):
        train.run(options(tmp_path), tmp_path / "file" / "out.json")
    with pytest.raises(UserError, match=r"cannot write .*file/mine"):
        train.run(options(tmp_path / "file"))
    assert graph.played == 0


def test_when_one_output_fails_at_the_end_expect_the_others_written(
    tmp_path: Path, graph: SlowGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train, "write_curve", full)
    with pytest.raises(UserError, match=r"not written: .*curve\.png: No space left on device"):
        train.run(options(tmp_path), tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["episodes"] == 2


class Tuned:
    """A run whose stacks are only asked for, and whose VLA is fine-tuned by a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, problem: str = "") -> None:
        self.folder, self.problem, graph = folder, problem, SlowGraph()
        self.stacks: list[dict[str, str]] = []
        monkeypatch.setattr(
            train, "running_client", lambda stack, log, **__: nullcontext(self._asked(stack, log, graph))
        )
        monkeypatch.setattr(training_session, "evaluate", graph.evaluate)
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
    assert (arguments["query_stride"], arguments["query_always"]) == ("2", "false")
    assert arguments.get("scripted_query_timeout_s") == patience_s
    alone = options(tmp_path, replace(SETTINGS, pace=pace, operator="none")).stack.arguments
    assert not {"query_stride", "query_always", "scripted_query_timeout_s"} & set(alone)


def test_when_a_methods_file_says_how_to_act_expect_the_stack_to_be_told(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("expo: {best_of: 3}\nschedule: {execute_steps: 4}\n")
    stack = options(tmp_path, replace(SETTINGS, method_file=str(file))).stack
    assert (stack.arguments["execute_steps"], stack.arguments["n_candidates"]) == ("4", "3")
    assert stack.arguments["method_file"] == str(file)


def test_when_a_methods_file_wants_more_windows_expect_queries_while_it_learns_and_none_in_evaluation(
    tmp_path: Path,
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("expo: {}\nschedule: {query_every: 4}\n")
    settings = replace(SETTINGS, method_file=str(file))
    learning = options(tmp_path, settings).stack.arguments
    assert (learning["query_stride"], learning["query_always"]) == ("4", "true")
    assert (
        "query_always" not in run_settings.stack_of(settings, Training("mine", str(tmp_path), 3, freeze=True)).arguments
    )


@pytest.mark.parametrize("steps", [-1, 9])
def test_when_windows_are_to_begin_beyond_a_chunk_expect_refusal(steps: int) -> None:
    with pytest.raises(ValueError, match=f"query_every is {steps}, allowed: 0..8"):
        Schedule(query_every=steps)


@pytest.mark.parametrize(("method", "words"), [("guess", "expo"), ("dsrl", "no block 'dsrl'")])
def test_when_a_method_is_not_there_expect_refusal_that_helps(tmp_path: Path, method: str, words: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("expo: {}\n")
    with pytest.raises(UserError, match=words):
        read_method_file(method, None if method == "guess" else file)


@pytest.mark.parametrize(
    ("method", "text", "words"),
    [
        ("expo", "expo: {margen: 1}\n", "own.yaml: unknown key in expo: margen"),
        ("expo", "expo: {}\ncritic: {members: 1}\n", "own.yaml: subset is 2, allowed: 1..1"),
        ("dagger", "dagger: {steps_per_rond: 2}\n", "own.yaml: unknown key in dagger: steps_per_rond"),
        ("expo", None, "own.yaml: there is no such method file"),
    ],
)
def test_when_a_method_file_cannot_be_used_expect_train_to_refuse_it_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, text: str | None, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("own.yaml").write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["train", "--method", method, "--method-file", "own.yaml", "--run", "mine"])
    assert isinstance(result.exception, UserError) and words in str(result.exception)
    assert not Path("runs").exists()


def test_when_a_run_is_evaluated_expect_nothing_stored_nobody_helping_and_no_exploring(tmp_path: Path) -> None:
    stack = run_settings.stack_of(SETTINGS, Training("mine", str(tmp_path), 3, freeze=True))
    assert (stack.arguments["freeze"], stack.arguments["explore"]) == ("true", "false")
    assert "operator" not in stack.arguments
    assert "learner_node" in stack.nodes and "transition_node" not in stack.nodes


def test_when_base_and_run_are_compared_expect_pairs_by_scene_without_aborted_episodes() -> None:
    def evaluation(outcomes: list[Outcome]) -> Evaluation:
        count = len(outcomes)
        rows = rows_of("stack", "", seeds=range(count), outcomes=outcomes, steps=[9] * count, durations_s=[1.0] * count)
        return Evaluation("stack", "", rows, 1.0)

    base = evaluation([Outcome.SUCCEEDED, Outcome.FAILED, Outcome.ABORTED, Outcome.FAILED])
    better = evaluation([Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.ABORTED])
    paired = trained.Comparison("mine", better, base).paired
    assert paired is not None
    assert (paired.both, paired.first_only, paired.second_only, paired.neither) == (1, 0, 1, 0)
    assert trained.Comparison("mine", better, None).figures()["mcnemar"] is None


def test_when_the_learner_reports_expect_its_figures() -> None:
    msg = LearnerStatus(updates=120, mean_target=float("nan"), pending_updates=3, finished=True, updates_per_s=40.5)
    report = report_of(msg)
    assert (report.updates, report.behind, report.finished, report.updates_per_s) == (120, 3, True, 40.5)
    assert math.isnan(report.q_mean)


def test_when_the_learner_has_diverged_expect_the_reason_and_while_it_waits_for_data_none() -> None:
    diverged = LearnerStatus(waits_for=LearnerStatus.DIVERGED, problem="loss is nan")
    assert report_of(diverged).halt == "diverged: loss is nan"
    assert report_of(LearnerStatus(waits_for=LearnerStatus.DATA, problem="a step was refused")).halt == ""


def test_when_the_learner_is_silent_expect_the_age_of_its_figures_on_the_screen() -> None:
    console = Console(width=120, record=True, file=None)
    old = report_of(LearnerStatus(updates=77), time.monotonic() - 42.0)
    console.print(figures(summarize([episode(1)]), old, Budget(19.0)))
    assert "no word for 42 s: its figures are old" in console.export_text()
    console.print(figures(summarize([episode(1)]), replace(old, heard_s=time.monotonic()), Budget(19.0)))
    assert "no word" not in console.export_text()


def test_when_figures_are_shown_expect_success_help_and_updates() -> None:
    console = Console(width=120, record=True, file=None)
    so_far = summarize([episode(n, human_steps=25) for n in range(1, 5)])
    console.print(
        figures(so_far, report_of(LearnerStatus(updates=77, waits_for=LearnerStatus.DATA)), Budget(19.0, 11000))
    )
    text = console.export_text()
    for word in ("400/11000", "0.3 of 19 min", "100 %", "25 %", "77", "for data"):
        assert word in text


def test_when_nothing_was_chosen_or_judged_expect_a_picture_all_the_same(tmp_path: Path) -> None:
    write_curve(tmp_path / "curve.png", "nothing", [episode(1, "aborted", decisions=0, edited=0)])
    assert (tmp_path / "curve.png").stat().st_size > 5000


def test_when_stored_transitions_are_damaged_expect_it_said_once_and_in_the_summary(
    tmp_path: Path, graph: SlowGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.damaged = 3
    assert train.run(options(tmp_path))["damaged_records"] == 3
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("3 stored transitions are damaged on the disk") == 1
    assert "3 stored transitions damaged" in said.split("mine:")[-1]


def test_when_a_device_is_given_expect_the_learner_told_and_the_settings_of_the_run_the_same(tmp_path: Path) -> None:
    given = replace(options(tmp_path), device="cuda:1")
    assert given.stack.arguments["learner_device"] == "cuda:1"
    assert given.settings == options(tmp_path).settings


def test_when_a_method_has_no_learner_beside_the_episodes_expect_its_device_refused(tmp_path: Path) -> None:
    rounds = replace(options(tmp_path, replace(SETTINGS, method="dagger")), device="cuda")
    with pytest.raises(UserError, match="--device is not for dagger"):
        train.run(rounds)


def test_when_other_settings_are_named_expect_those_that_are_shipped_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = Path("without_operator")
    assert read_method_file("expo", method_path("expo", named)).query_arguments == (
        ("query_stride", "2"), ("query_always", "true"),
    )  # fmt: skip
    assert method_path("dsrl", named) == tmp_path / named
    named.write_text("expo: {}\n")
    assert method_path("expo", named) == tmp_path / named
