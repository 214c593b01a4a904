# SPDX-License-Identifier: Apache-2.0
"""`whetstone demo` where no stack is needed: what it is asked for, what it says, and what it leaves behind."""

from __future__ import annotations

import io
import json
import shlex
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fakes.evaluations import evaluation_of
from fakes.train_episodes import episode
from harness.until import until
from whetstone_cli.cli import demo_training, main, scenes
from whetstone_cli.cli.commands import demo, train
from whetstone_cli.cli.demo import DemoOptions
from whetstone_cli.cli.demo_training import DemoTraining
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import EvalOptions
from whetstone_cli.cli.run_settings import RunSettings, TrainOptions
from whetstone_cli.cli.scenes import EvalJob
from whetstone_cli.core import film
from whetstone_cli.core.before_after import Timetable
from whetstone_cli.core.report import Evaluation, write_json
from whetstone_cli.core.training import FIRST_TRAINING_SEED, Budget, TrainingLog

TIMES = Timetable(0.0, 960.0, learns=True)


def wanted(folder: Path) -> DemoTraining:
    return DemoTraining("pick_place", "expo", "onnx", Budget(19.0, 11_000), folder / "runs", scenes=4, seed=1000)


def asked_for(monkeypatch: pytest.MonkeyPatch, *words: str) -> DemoOptions:
    asked: list[DemoOptions] = []
    monkeypatch.setattr(demo.demo_command, "run", lambda options, _json: asked.append(options))
    result = CliRunner().invoke(main.app, ["demo", *words])
    assert result.exit_code == 0, result.output
    return asked[0]


def test_when_nothing_is_said_expect_training_and_a_comparison_on_100_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    options = asked_for(monkeypatch)
    assert options.sharpening is not None
    assert (options.sharpening.task, options.sharpening.method) == ("pick_place", "expo")
    assert options.sharpening.budget == Budget(19.0, 5_000)
    assert options.sharpening.finetune_at == 0.9
    assert options.sharpening.scenes == 100
    assert options.budget_s < 1000.0, "setup and this share 20 minutes"


def test_when_there_is_no_time_to_train_expect_the_tasks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_for(monkeypatch, "--train-minutes", "0").sharpening is None


def test_when_there_are_earlier_runs_expect_a_new_one(tmp_path: Path) -> None:
    assert demo_training.fresh_name(wanted(tmp_path)) == "demo_pick_place_expo_1"
    (tmp_path / "runs" / "demo_pick_place_expo_1").mkdir(parents=True)
    assert demo_training.fresh_name(wanted(tmp_path)) == "demo_pick_place_expo_2"


def test_when_scenes_are_those_of_training_expect_refusal_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="for training"):
        demo_training.check(replace(wanted(tmp_path), seed=FIRST_TRAINING_SEED))


def test_when_told_how_to_go_on_expect_the_very_settings_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(wanted(tmp_path), finetune_at=0.4).settings
    options = TrainOptions("demo_1", tmp_path / "my runs", settings, Budget(19.0, 11_000))
    asked: list[TrainOptions] = []
    monkeypatch.setattr(train.train_command, "run", lambda again, _json: asked.append(again) or {})
    result = CliRunner().invoke(main.app, shlex.split(demo_training.train_command(options))[1:])
    assert result.exit_code == 0, result.output
    assert asked == [options]


def trains(*versions: int) -> Callable[[TrainOptions], None]:
    """Stands in for training: episodes that were played with these weights."""

    def run(options: TrainOptions) -> None:
        assert options.until_s == TIMES.training_until_s
        log = TrainingLog(options.folder / "episodes.jsonl")
        for number, version in enumerate(versions, start=1):
            log.append(episode(number, human_steps=20, policy_version=version))

    return run


def plays(base: str, after: str) -> Callable[[EvalJob], tuple[Evaluation, Evaluation]]:
    """Stands in for both stacks: outcomes, and a film of the scene that is shown."""

    def play_both(errand: EvalJob) -> tuple[Evaluation, Evaluation]:
        for side, count in ((errand, 4), (scenes.sharpened(errand), 3)):
            pictures = tuple(np.full((96, 96, 3), 20 * i, np.uint8) for i in range(count))
            film.save_clip(side.film, film.Clip((pictures, pictures), "put it there", good=True))
        return evaluation_of(base, errand.seed), evaluation_of(after, errand.seed)

    return play_both


def test_when_learnt_weights_play_better_expect_rates_pairs_help_curve_and_a_film_of_what_was_gained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_training.train, "run", trains(0, 7))
    monkeypatch.setattr(demo_training.scenes, "play_both", plays("+-+", "++"))
    *_, learnt = list(demo_training.run(wanted(tmp_path), tmp_path, TIMES))
    learnt = json.loads(json.dumps(learnt, allow_nan=False))
    assert learnt["base"]["success_rate"]["successes"] == 1
    assert learnt["trained"]["success_rate"]["successes"] == 2
    assert (learnt["mcnemar"]["first_only"], learnt["mcnemar"]["second_only"]) == (0, 1)
    assert (learnt["scenes"], learnt["scenes_wanted"]) == (2, 4)
    assert learnt["person_share"] == pytest.approx(0.2)
    assert learnt["curve"].endswith("demo_pick_place_expo_1/curve.png")
    with Image.open(learnt["gif"]) as gif:
        assert gif.n_frames == 4
    assert not list(tmp_path.glob("*.npz"))
    assert "2 of 4 scenes" in capsys.readouterr().out


def test_when_no_learnt_weights_were_played_expect_that_said_and_training_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_training.train, "run", trains(0, 0))
    parts = demo_training.run(wanted(tmp_path), tmp_path, TIMES)
    assert next(parts)["training"]["episodes"] == 2
    with pytest.raises(UserError, match="nothing to compare"):
        next(parts)


def test_when_training_is_interrupted_expect_the_command_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_options: TrainOptions) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_training.train, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(demo_training.run(wanted(tmp_path), tmp_path, TIMES))
    assert "whetstone train --run demo_pick_place_expo_1" in capsys.readouterr().out


class Graph:
    """Stands in for the client of one side."""

    def __init__(self, sign: str) -> None:
        self.events: list[Any] = []
        self.filmed: list[int] = []
        self._sign = sign

    def spin_until(self, condition: Callable[[], bool], _timeout_s: float) -> bool:
        until(condition, 10.0, "the wish is read")
        return True

    def start_filming(self) -> None:
        self.filmed = []

    def clips(self) -> dict[int, film.Clip]:
        return {
            seed: film.Clip(((np.zeros((8, 8, 3), np.uint8),),), f"scene {seed}", good=True) for seed in self.filmed
        }

    def evaluate(self, _client: Any, task: str, options: EvalOptions, _feedback: Any) -> Evaluation:
        self.filmed.append(options.seed)
        return evaluation_of(self._sign * options.episodes, options.seed, task)


def side(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sign: str, until_s: float, wish: str = "\n"
) -> tuple[EvalJob, list[int]]:
    """Play the base of a run; returns the seeds of the scenes that it said it had played."""
    write_json(folder / "mine" / "run.json", vars(RunSettings("pick_place", "expo", 0)))
    graph = Graph(sign)
    monkeypatch.setattr(scenes, "running_client", lambda *_, **__: nullcontext(graph))
    monkeypatch.setattr(scenes, "evaluate", graph.evaluate)
    errand = EvalJob("mine", str(folder), 1000, 30, until_s, folder=str(folder))
    said: list[dict[str, Any]] = []
    scenes.play(errand, said.append, io.StringIO(wish))
    assert said.pop() == {"played": True}
    return errand, [words["row"]["seed"] for words in said]


def test_when_there_is_time_expect_every_scene_and_a_film_of_the_one_that_is_wished_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errand, seeds = side(tmp_path, monkeypatch, "-", time.monotonic() + 60.0, "1007\n")
    assert seeds == list(range(1000, 1030))
    assert film.load_clip(errand.film).caption == "scene 1007"


@pytest.mark.parametrize("wish", ["\n", ""])
def test_when_no_scene_is_wished_for_expect_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    assert not side(tmp_path, monkeypatch, "-", 0.0, wish)[0].film.exists()


def test_when_the_time_is_up_already_expect_a_few_scenes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(side(tmp_path, monkeypatch, "+", 0.0)[1]) == 10


def test_when_nothing_can_be_judged_expect_an_end_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"demo_base\.log"):
        side(tmp_path, monkeypatch, "a", time.monotonic() + 60.0)
