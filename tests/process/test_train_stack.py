# SPDX-License-Identifier: Apache-2.0
"""A run that trains through the whole graph, goes on after an interrupt, and is evaluated with its newest weights."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import psutil
import pytest

from experience.core.prior import transitions_in
from harness.until import until
from rl_learner.core import checkpoint
from rl_learner.core.evaluation_plan import EvaluationPlan
from whetstone_cli.cli import rounds, scenes, trained, tuning
from whetstone_cli.cli import train as run
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import EvalOptions, EvalOutputs
from whetstone_cli.cli.run_settings import RunSettings, TrainOptions
from whetstone_cli.cli.scenes import EvalJob
from whetstone_cli.core import film
from whetstone_cli.core.training import Budget
from whetstone_common.core.run_session import read_session

pytestmark = [pytest.mark.timeout(600), pytest.mark.cores(2)]

_METHOD = """
expo: {edit_knots: 2, edit_scale: [0.01], margin: 0.0, select: lower}
critic: {members: 2, hidden: [32, 32]}
schedule: {base_episodes: 2, warm_up_updates: 20, updates_per_step: 0.1, batch: 16, discount: 0.99}
"""
# An episode of the fake policy fails after 8 s of robot time: 160 ticks at 20 Hz.
_EPISODE_MIN = 8.0 / 60.0
_SUCCESS_MIN = 3.3 / 60.0  # of the pocket VLA, with a person at hand


def train(folder: Path, episodes: float) -> subprocess.Popen[bytes]:
    """`whetstone train` for so many episodes in all."""
    (folder / "expo.yaml").write_text(_METHOD, encoding="utf-8")
    words = ["train", "--run", "mine", "--runs", str(folder / "runs"), "--method-file", str(folder / "expo.yaml")]
    words += ["--backend", "fake", "--operator", "none", "--minutes", str(_EPISODE_MIN * episodes)]
    words += ["--evaluate-every-min", "0"]
    with (folder / "cli.log").open("ab") as sink:
        command = [sys.executable, "-m", "whetstone_cli.cli.main", *words]
        return subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)  # noqa: S603 - our own command


def lines(folder: Path, run: Path | None = None) -> list[dict[str, Any]]:
    file = (run or folder / "runs" / "mine") / "episodes.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.usefixtures("keep_environment")
def test_when_a_run_is_interrupted_and_run_again_expect_it_to_go_on_and_its_weights_to_be_played(
    tmp_path: Path,
) -> None:
    cli = train(tmp_path, episodes=50)
    try:
        until(lambda: len(lines(tmp_path)) >= 2 or cli.poll() is not None, 240.0, "two episodes")
        cli.send_signal(signal.SIGINT)
        assert cli.wait(60.0) == 130, (tmp_path / "cli.log").read_text()
    finally:
        cli.kill()
    first = lines(tmp_path)
    curve = tmp_path / "runs" / "mine" / "curve.png"
    assert curve.stat().st_size > 5000
    before = curve.stat().st_mtime_ns
    session = read_session(tmp_path / "runs" / "mine")
    assert session is not None and not session.is_finished and session.problem == ""

    cli = train(tmp_path, episodes=len(first) + 1.5)
    try:
        assert cli.wait(300.0) == 0, (tmp_path / "cli.log").read_text()
    finally:
        cli.kill()
    session = read_session(tmp_path / "runs" / "mine")
    assert session is not None and session.is_finished
    rows = lines(tmp_path)
    assert rows[: len(first)] == first
    assert [row["episode"] for row in rows] == list(range(1, len(first) + 3))
    assert len({row["seed"] for row in rows}) == len(rows)
    assert curve.stat().st_mtime_ns > before
    assert rows[-1]["updates"] >= 20
    assert rows[-1]["policy_version"] > 0, "learnt weights were never played"

    comparison = trained.run(
        "mine",
        tmp_path / "runs",
        EvalOptions(1, 7),
        EvalOutputs(tmp_path / "eval.json", film=tmp_path / "eval.mp4"),
        paired=True,
        log=tmp_path / "eval.log",
    )
    figures = json.loads((tmp_path / "eval.json").read_text())
    assert iio.imread(tmp_path / "eval.mp4").shape[2] == 966, "base and run side by side"
    assert [row["seed"] for row in figures["trained"]["rows"]] == [7]
    assert comparison.paired is not None and comparison.paired.neither == 1
    assert lines(tmp_path) == rows, "an evaluation must leave a run as it is"
    both_at_once(tmp_path)
    assert lines(tmp_path) == rows


@pytest.mark.usefixtures("keep_environment")
def test_when_a_run_evaluates_itself_expect_the_newest_weights_alone_and_nothing_of_it_in_the_replay(
    tmp_path: Path,
) -> None:
    (tmp_path / "expo.yaml").write_text(_METHOD, encoding="utf-8")
    settings = RunSettings(
        "pick_place", "expo", 3, operator="scripted", method_file=str(tmp_path / "expo.yaml"), backend="fake"
    )
    rounds = EvaluationPlan(every_min=0.01, episodes=2)
    run.run(TrainOptions("mine", tmp_path, settings, Budget(6 * _EPISODE_MIN), rounds=rounds))
    rows = lines(tmp_path, tmp_path / "mine")
    evaluated = [row for row in rows if row["evaluation"]]
    assert len(evaluated) >= 2 and len(evaluated) % 2 == 0
    assert all(row["human_steps"] == 0 and row["policy_version"] > 0 and not row["stored"] for row in evaluated)
    trained_on = [row for row in rows if not row["evaluation"]]
    assert any(row["human_steps"] > 0 for row in trained_on), "the helper was there for the others"
    assert {made.episode for made in transitions_in(tmp_path / "mine")} != set()
    assert len({made.episode for made in transitions_in(tmp_path / "mine")}) == len(trained_on)
    saved = checkpoint.load(checkpoint.latest(tmp_path / "mine" / "checkpoints")[0])
    judged = saved.notes["guard"]["rounds"]
    assert sum(each["episodes"] for each in judged) == len(evaluated)


@pytest.mark.usefixtures("keep_environment")
def test_when_half_of_a_run_is_over_expect_a_model_of_its_own_to_play_the_rest_and_one_that_it_adds_up_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "STEPS", 2)
    (tmp_path / "expo.yaml").write_text(_METHOD, encoding="utf-8")
    settings = RunSettings(
        "pick_place",
        "expo",
        5,
        operator="scripted",
        method_file=str(tmp_path / "expo.yaml"),
        finetune_at=0.5,
        distil=True,
    )
    run.run(TrainOptions("mine", tmp_path, settings, Budget(4 * _SUCCESS_MIN)))
    folder = tmp_path / "mine"
    manifest = json.loads((folder / "model" / "manifest.json").read_text())
    assert manifest["finetuned"]["windows"] > 0
    assert not list(folder.glob("dataset_*")), "what was made on the way is gone"
    by_model = {made.vla_version for made in transitions_in(folder)}
    assert len(by_model) == 2, "both models have played, and the learner has heard of both"
    distilled = json.loads((folder / "distilled" / "manifest.json").read_text())["finetuned"]
    assert distilled["windows"] > manifest["finetuned"]["windows"] and distilled["averaged"] > 1
    assert not list(folder.glob("distilled_*"))
    alone = trained.run("mine", tmp_path, EvalOptions(1, 7), EvalOutputs(), paired=False, log=tmp_path / "log")
    assert len(alone.trained.judged) == 1


@pytest.mark.usefixtures("keep_environment")
def test_when_a_round_of_corrections_is_over_expect_the_new_policy_swapped_into_the_stack_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks, swapped, swap, stack = [], [], rounds.swap, run._stack_log

    def spy(client: Any, model: Path) -> None:
        swap(client, model)
        status = client._states.statuses["vla_node"]
        refused = dict(zip(status.counter_names, status.counters, strict=True)).get("models_refused", 0)
        swapped.append((model.name, client.epoch_of("vla_node"), refused))

    monkeypatch.setattr(rounds, "swap", spy)
    monkeypatch.setattr(run, "_stack_log", lambda folder: stacks.append(folder) or stack(folder))
    file = tmp_path / "dagger.yaml"
    file.write_text("dagger: {episodes_per_round: 1, steps_per_round: 2, human_stride: 4}\n", encoding="utf-8")
    settings = RunSettings("pick_place", "dagger", 3, operator="scripted", method_file=str(file))
    # The operator takes over in some episodes and not in others; rounds without a correction leave the policy as it is.
    run.run(TrainOptions("mine", tmp_path, settings, Budget(4 * _SUCCESS_MIN)))
    assert swapped, "no round had a correction"
    assert len(stacks) == 1 and len({epoch for _, epoch, _ in swapped}) == 1, "vla_node was never restarted"
    assert all(refused == 0 for *_, refused in swapped)
    made = json.loads((tmp_path / "mine" / "rounds" / swapped[-1][0] / "manifest.json").read_text())
    assert made["finetuned"]["steps"] == 2


def both_at_once(folder: Path) -> None:
    """Base and run in two stacks at the same time: the same scenes, a film of one from both, no process left."""
    errand = EvalJob("mine", str(folder / "runs"), 7, 2, math.inf, folder=str(folder / "both"))
    both = scenes.play_both(errand)
    assert [[(row.seed, row.outcome) for row in side.rows] for side in both] == [
        [(7, "timed_out"), (8, "timed_out")]
    ] * 2
    for side in (errand, scenes.sharpened(errand)):
        shown = film.load_clip(side.film)
        assert shown.outcome == "failure: out of time" and len(shown.spectator) > 5
    assert not [child for child in psutil.Process().children(recursive=True) if "sim_node" in " ".join(child.cmdline())]


@pytest.mark.usefixtures("keep_environment")
def test_when_a_run_has_no_weights_yet_expect_its_evaluation_refused_in_words(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "empty"
    run.mkdir(parents=True)
    settings = {"task": "pick_place", "method": "expo", "seed": 0, "backend": "fake"}
    (run / "run.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"(?i)weights|checkpoint|learner_node"):
        trained.run("empty", run.parent, EvalOptions(1), EvalOutputs(), paired=False, log=tmp_path / "eval.log")
    assert os.listdir(run) != []
