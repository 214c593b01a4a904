# SPDX-License-Identifier: Apache-2.0
"""A run that trains through the whole graph, goes on after an interrupt, and is evaluated with its newest weights."""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.until import until
from rl_learner.core.prior import transitions_in
from robot_bringup.cli import jobs, scenes, trained, tuning
from robot_bringup.cli import train as run
from robot_bringup.cli.errors import UserError
from robot_bringup.cli.evaluate import EvalOptions
from robot_bringup.cli.scenes import Errand
from robot_bringup.cli.train import RunSettings, TrainOptions
from robot_bringup.core.training import Budget

pytestmark = [pytest.mark.timeout(600), pytest.mark.cores(2)]

_METHOD = """
expo: {steps: 8, edit_knots: 2, edit_scale: [0.01], margin: 0.0, select: lower}
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
    with (folder / "cli.log").open("ab") as sink:
        command = [sys.executable, "-m", "robot_bringup.cli.main", *words]
        return subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)  # noqa: S603 - our own command


def lines(folder: Path) -> list[dict[str, Any]]:
    file = folder / "runs" / "mine" / "episodes.jsonl"
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

    cli = train(tmp_path, episodes=len(first) + 1.5)
    try:
        assert cli.wait(300.0) == 0, (tmp_path / "cli.log").read_text()
    finally:
        cli.kill()
    rows = lines(tmp_path)
    assert rows[: len(first)] == first
    assert [row["episode"] for row in rows] == list(range(1, len(first) + 3))
    assert len({row["seed"] for row in rows}) == len(rows)
    assert curve.stat().st_mtime_ns > before
    assert rows[-1]["updates"] >= 20
    assert rows[-1]["policy_version"] > 0, "learnt weights were never played"

    comparison = trained.run(
        "mine", tmp_path / "runs", EvalOptions(1, 7), paired=True, json=tmp_path / "eval.json", csv=None,
        log=tmp_path / "eval.log",
    )  # fmt: skip
    figures = json.loads((tmp_path / "eval.json").read_text())
    assert [row["seed"] for row in figures["trained"]["rows"]] == [7]
    assert comparison.paired is not None and comparison.paired.neither == 1
    assert lines(tmp_path) == rows, "an evaluation must leave a run as it is"
    both_at_once(tmp_path)
    assert lines(tmp_path) == rows


@pytest.mark.usefixtures("keep_environment")
def test_when_half_of_a_run_is_over_expect_a_model_of_its_own_to_play_the_rest_and_one_that_it_adds_up_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning.jobs, "finetune", functools.partial(jobs.finetune, steps=2))
    (tmp_path / "expo.yaml").write_text(_METHOD, encoding="utf-8")
    settings = RunSettings(
        "pick_place",
        "expo",
        3,
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
    alone = trained.run("mine", tmp_path, EvalOptions(1, 7), paired=False, json=None, csv=None, log=tmp_path / "log")
    assert len(alone.trained.judged) == 1


def both_at_once(folder: Path) -> None:
    """Base and run in two stacks at the same time: the same scenes, films of both, no process left."""
    errand = Errand("mine", str(folder / "runs"), 7, 2, math.inf, films=2, folder=str(folder / "both"))
    both = scenes.play_both(errand)
    assert [[(row.seed, row.outcome) for row in side.rows] for side in both] == [
        [(7, "timed_out"), (8, "timed_out")]
    ] * 2
    assert errand.film(7).is_file() and scenes.sharpened(errand).film(7).is_file()
    assert not [child for child in psutil.Process().children(recursive=True) if "sim_node" in " ".join(child.cmdline())]


@pytest.mark.usefixtures("keep_environment")
def test_when_a_run_has_no_weights_yet_expect_its_evaluation_refused_in_words(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "empty"
    run.mkdir(parents=True)
    settings = {"task": "pick_place", "method": "expo", "seed": 0, "backend": "fake"}
    (run / "run.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"(?i)weights|checkpoint|learner_node"):
        trained.run("empty", run.parent, EvalOptions(1), paired=False, json=None, csv=None, log=tmp_path / "eval.log")
    assert os.listdir(run) != []
