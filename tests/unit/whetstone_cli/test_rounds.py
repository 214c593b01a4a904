# SPDX-License-Identifier: Apache-2.0
"""Runs that train in rounds: which model they play, what they cannot be given, and the swap in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vla_interfaces.srv import LoadModel

from whetstone_cli.cli import jobs, rounds, tuning
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.run_settings import RunSettings, TrainOptions
from whetstone_cli.cli.train import _check_rounds
from whetstone_cli.core.training import Budget


def round_of(folder: Path, number: int) -> Path:
    path = folder / "rounds" / f"round-{number:03d}"
    path.mkdir(parents=True)
    (path / "manifest.json").write_text("{}")
    (path / "model.safetensors").write_bytes(bytes([number]))
    return path


def test_when_rounds_are_over_expect_the_newest_model_played_and_the_next_one_beside_it(tmp_path: Path) -> None:
    assert tuning.model_of(tmp_path, "base") == "base" and tuning.distilled_of(tmp_path) is None
    assert tuning.next_round(tmp_path).name == "round-001"
    round_of(tmp_path, 1)
    newest = round_of(tmp_path, 12)
    (tmp_path / "rounds" / "round-013").mkdir()  # killed before it was whole
    assert tuning.model_of(tmp_path, "base") == str(newest) == str(tuning.distilled_of(tmp_path))
    assert tuning.next_round(tmp_path).name == "round-013"


def test_when_a_method_trains_in_rounds_expect_a_recorder_and_no_learner(tmp_path: Path) -> None:
    stack = TrainOptions("mine", tmp_path, RunSettings("pick_place", "dagger", 0, "scripted"), Budget(1.0)).stack
    assert stack.training is None and stack.is_recorded and stack.storage == ("recorder_node",)
    assert stack.arguments["method"] == "dagger" and stack.arguments["execute_steps"] == "8"
    assert stack.arguments["operator"] == "scripted" and "train" not in stack.arguments


@pytest.mark.parametrize(
    ("change", "named"),
    [({"prior": "x"}, "--prior"), ({"finetune_at": 0.5}, "--finetune-at"), ({"distil": True}, "--distil"),
     ({"backend": "fake"}, "fake")],
)  # fmt: skip
def test_when_a_run_in_rounds_is_given_what_it_cannot_use_expect_its_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        _check_rounds(RunSettings(**({"task": "pick_place", "method": "dagger", "seed": 0} | change)), "cpu")


def test_when_an_option_is_zero_expect_it_said_and_what_is_none_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(jobs, "run_job", lambda _name, words: said.extend(words))
    given = {"held_out": 0.0, "ema": 0.0, "whole": False, "resume": True, "base": "", "mapping": None}
    jobs.post_train("sft", [Path("set")], Path("out"), **given)
    assert said == ["sft", "set", "--out=out", "--held-out=0.0", "--ema=0.0", "--resume"]


class Graph:
    """A vla_node that answers as it is told."""

    def __init__(self, *answers: LoadModel.Response) -> None:
        self.answers, self.requests = list(answers), list[LoadModel.Request]()

    def call(self, _kind: Any, _service: str, request: LoadModel.Request, _timeout_s: float) -> LoadModel.Response:
        self.requests.append(request)
        return self.answers.pop(0)

    def spin_until(self, condition: Any, _timeout_s: float) -> bool:
        while self.answers:
            if condition():
                return True
        return False


LOADING = LoadModel.Response(success=True, state=LoadModel.Response.LOADING)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_ASK_PERIOD_S", 0.0)


@pytest.mark.usefixtures("at_once")
def test_when_a_model_is_swapped_expect_the_same_words_until_it_serves(tmp_path: Path) -> None:
    model = round_of(tmp_path, 1)
    graph = Graph(LOADING, LOADING, LoadModel.Response(success=True, state=LoadModel.Response.SERVING))
    rounds.swap(graph, model)
    assert len({(request.directory, request.sha256) for request in graph.requests}) == 1
    assert graph.requests[0].directory == str(model) and len(graph.requests[0].sha256) == 64


@pytest.mark.usefixtures("at_once")
def test_when_a_model_is_refused_or_never_serves_expect_why(tmp_path: Path) -> None:
    model = round_of(tmp_path, 1)
    with pytest.raises(UserError, match="features: others"):
        rounds.swap(Graph(LOADING, LoadModel.Response(message="features: others")), model)
    with pytest.raises(UserError, match="has not loaded"):
        rounds.swap(Graph(LOADING, LOADING), model)
