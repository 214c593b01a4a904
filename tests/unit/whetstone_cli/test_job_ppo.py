# SPDX-License-Identifier: Apache-2.0
"""PPO as a job: simulators, a tiny VLA and a learner make a model directory, and go on where they stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fakes.threads import one_thread
from fakes.toy_vla import toy_trainer
from vla_policy.core.backends.pocket import PocketBackend
from vla_policy.core.files import read_manifest
from vla_policy.core.training.export import export
from whetstone_cli.jobs import ppo

SHIPPED = Path(__file__).resolve().parents[3] / "ros2_ws" / "src" / "vla_policy" / "models" / "pocket"
SETTINGS = "ppo: {actor_learning_rate: 1.0e-3, critic_warm_up: 0, batch: 4, epochs: 1, execute_steps: 8}\n"


@pytest.fixture(autouse=True)
def on_one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VLA that has hardly learnt."""
    folder = tmp_path_factory.mktemp("model")
    trainer = toy_trainer()
    trainer.advance()
    trainer.save(folder / "checkpoint")
    export(folder / "checkpoint", folder / "model", model_id="tiny")
    return folder / "model"


def job(folder: Path, model: Path, *words: str) -> int:
    (folder / "settings.yaml").write_text(SETTINGS)
    return ppo.main(
        [
            f"--model-dir={model}", f"--folder={folder / 'run'}", f"--method-file={folder / 'settings.yaml'}",
            "--envs=1", "--episodes=2", "--evaluate-every=0", "--evaluation-episodes=1", "--threads=1", *words,
        ]
    )  # fmt: skip


def network(directory: Path) -> dict[str, torch.Tensor]:
    return dict(PocketBackend.load(str(directory)).model.named_parameters())


def test_when_a_run_ends_and_goes_on_expect_models_that_can_be_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job(tmp_path, SHIPPED, f"--out={tmp_path / 'one'}", "--iterations=1") == 0
    said = capsys.readouterr().out
    assert "iteration 1/1: with noise" in said and "as served, after:" in said
    first = read_manifest(tmp_path / "one")["ppo"]
    assert (first["task"], first["iterations"]) == ("pick_place", 1) and 0 < first["steps"] <= 320
    before, after = network(SHIPPED), network(tmp_path / "one")
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed and not [name for name in changed if name.startswith("model.vlm.")]

    assert job(tmp_path, SHIPPED, f"--out={tmp_path / 'two'}", "--iterations=2") == 0
    assert f"goes on after iteration 1, {first['steps']} steps" in capsys.readouterr().out
    second = read_manifest(tmp_path / "two")["ppo"]
    assert second["iterations"] == 2 and second["steps"] > first["steps"]
    budget = f"--budget-steps={second['steps']}"
    assert job(tmp_path, SHIPPED, f"--out={tmp_path / 'three'}", "--iterations=9", budget) == 0
    assert read_manifest(tmp_path / "three")["ppo"] == second

    capsys.readouterr()
    assert job(tmp_path, SHIPPED, f"--out={tmp_path / 'four'}", "--seed=1") == 2
    assert "was begun otherwise (seed: 0, now 1)" in capsys.readouterr().err
    assert not (tmp_path / "four").exists()


def test_when_no_episode_succeeds_expect_it_said_and_the_weights_as_they_were(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job(tmp_path, model, f"--out={tmp_path / 'out'}", "--iterations=1") == 0
    assert "no success to learn from" in capsys.readouterr().out
    before, after = network(model), network(tmp_path / "out")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--task=nope"], "unknown task 'nope'"),
        (["--robot=nope"], "no robot 'nope'"),
        (["--model-dir=/nowhere"], "/nowhere"),
        (["--method-file=/nowhere.yaml"], "/nowhere.yaml: there is no such method file"),
    ],
)
def test_when_something_cannot_be_used_expect_one_sentence_and_no_output(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert job(tmp_path, model, f"--out={tmp_path / 'out'}", *words) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said and "\n" not in said
    assert not (tmp_path / "out").exists() and not (tmp_path / "run").exists()


def test_when_the_output_is_there_expect_it_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job(tmp_path, Path("/nowhere"), f"--out={tmp_path}") == 2
    assert "exists already" in capsys.readouterr().err
