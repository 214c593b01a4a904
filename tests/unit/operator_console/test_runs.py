# SPDX-License-Identifier: Apache-2.0
"""Runs as the page lists them: their state, curve and lineage come from the run's folder alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from fakes.train_episodes import episode
from operator_console.core.run_advice import next_steps
from operator_console.core.run_curve import curve_of
from operator_console.core.runs import RunCatalog, RunState, RunView
from whetstone_cli.cli.run_folder import RunFolder
from whetstone_cli.core.training import TrainingLog
from whetstone_common.core.run_session import RunSession, write_session
from whetstone_common.core.training_log import TrainingEpisode

SETTINGS = {"task": "pick_place", "method": "expo", "seed": 3, "backend": "onnx", "operator": "scripted"}


def write_run(folder: Path, episodes: Sequence[TrainingEpisode], **session: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    log = TrainingLog(folder / "episodes.jsonl")
    for each in episodes:
        log.append(each)
    write_session(folder, RunSession(19.0, **session))  # type: ignore[arg-type]


def test_when_a_run_is_trained_expect_it_running_and_stopped_when_its_process_has_let_go(tmp_path: Path) -> None:
    catalog = RunCatalog(tmp_path)
    write_run(tmp_path / "mine", [episode(1)])
    with RunFolder(tmp_path / "mine"):
        assert [(run.name, run.state) for run in catalog.runs()] == [("mine", RunState.RUNNING)]
    assert [run.state for run in catalog.runs()] == [RunState.STOPPED]


def test_when_somebody_looks_whether_a_run_is_trained_expect_that_it_can_be_begun(tmp_path: Path) -> None:
    write_run(tmp_path / "mine", [episode(1)])
    with RunFolder(tmp_path / "mine"):
        pass
    for _ in range(20):
        assert RunCatalog(tmp_path).runs()[0].state is RunState.STOPPED
        with RunFolder(tmp_path / "mine"):
            pass


def test_when_the_budget_is_used_up_expect_finished(tmp_path: Path) -> None:
    write_run(tmp_path / "mine", [episode(1)], is_finished=True)
    assert RunCatalog(tmp_path).runs()[0].state is RunState.FINISHED


def test_when_an_episode_is_added_expect_the_curve_to_grow(tmp_path: Path) -> None:
    catalog = RunCatalog(tmp_path)
    write_run(tmp_path / "mine", [episode(1)])
    assert len(catalog.runs()[0].curve.success) == 1
    TrainingLog(tmp_path / "mine" / "episodes.jsonl").append(episode(2, "failed"))
    rates = [rate.rate for _, rate in catalog.runs()[0].curve.success]
    assert rates == [1.0, 0.5]


def test_when_a_run_cannot_be_read_expect_its_reason_and_the_others(tmp_path: Path) -> None:
    write_run(tmp_path / "good", [episode(1)])
    write_run(tmp_path / "bad", [episode(1)])
    (tmp_path / "bad" / "episodes.jsonl").write_text("{}\n", encoding="utf-8")
    runs = {run.name: run for run in RunCatalog(tmp_path).runs()}
    assert "line 1" in runs["bad"].problem
    assert runs["good"].problem == "" and runs["good"].summary.episodes == 1


def test_when_the_folder_of_runs_is_not_there_expect_no_runs(tmp_path: Path) -> None:
    assert RunCatalog(tmp_path / "none").runs() == ()


def test_when_there_are_rounds_of_evaluation_expect_success_without_help_and_the_base() -> None:
    rounds = [episode(3, evaluation=True, policy_version=2), episode(4, "failed", evaluation=True, policy_version=2)]
    curve = curve_of([episode(1), episode(2, human_steps=50), *rounds])
    assert curve.is_alone and curve.base == 0.5
    assert [(round(at, 3), rate.rate) for at, rate in curve.success] == [(0.167, 0.5), (0.333, 0.5)]
    assert [round(share, 3) for _, share in curve.human] == [0.0, 0.25]


def test_when_there_are_no_rounds_expect_the_last_episodes_and_their_interval() -> None:
    curve = curve_of([episode(number, "succeeded" if number > 20 else "failed") for number in range(1, 41)])
    assert not curve.is_alone and curve.newest is not None
    assert (curve.newest.successes, curve.newest.episodes) == (20, 20)
    assert 0.8 < curve.newest.low < curve.newest.high == 1.0


def test_when_the_critic_has_given_no_value_expect_no_point_of_it() -> None:
    curve = curve_of([episode(1), episode(2, q_mean=0.25)])
    assert curve.value == ((pytest.approx(1 / 6), 0.25),)


def test_when_a_run_was_corrected_and_tuned_expect_that_in_its_lineage(tmp_path: Path) -> None:
    write_run(tmp_path / "mine", [episode(1, human_steps=40), episode(2, policy_version=7)])
    model = tmp_path / "mine" / "model"
    model.mkdir()
    (model / "manifest.json").write_text('{"finetuned": {"windows": 12}}', encoding="utf-8")
    lineage = dict(RunCatalog(tmp_path).runs()[0].lineage)
    assert lineage["base model"] == "onnx: the shipped one"
    assert lineage["corrections"] == "40 steps by a human, in 1 of 2 episodes"
    assert lineage["policy weights"] == "version 7, 20 updates"
    assert lineage["fine-tuned model"].endswith("trained on 12 windows")


def _run(state: RunState, *episodes: TrainingEpisode) -> RunView:
    from whetstone_common.core.training_log import summarize

    return RunView("mine", state, SETTINGS, summarize(episodes), curve_of(episodes))


def test_when_a_run_is_finished_and_weak_expect_corrections_first_and_good_expect_an_evaluation_first() -> None:
    assert "resume" in next_steps(_run(RunState.STOPPED, episode(1)))[0]
    assert "corrections" in next_steps(_run(RunState.FINISHED, episode(1, "failed")))[0]
    good = next_steps(_run(RunState.FINISHED, episode(1)))
    assert "whetstone eval --run mine --paired --episodes 100" in good[0]
    assert "whetstone distill mine" in good[1]


def test_when_a_stack_has_learnt_without_whetstone_train_expect_its_run_listed_with_how_to_go_on(
    tmp_path: Path,
) -> None:
    catalog = RunCatalog(tmp_path)
    (tmp_path / "by_stack" / "checkpoints").mkdir(parents=True)
    (tmp_path / "no_run").mkdir()
    write_run(tmp_path / "mine", [episode(1)])
    runs = {run.name: run for run in catalog.runs()}
    assert {name: run.state for name, run in runs.items()} == {
        "by_stack": RunState.OF_STACK,
        "mine": RunState.STOPPED,
    }
    assert "run:=by_stack" in " ".join(next_steps(runs["by_stack"]))
    (tmp_path / "mine" / "checkpoints").mkdir()
    assert [run.name for run in catalog.runs()].count("mine") == 1
