# SPDX-License-Identifier: Apache-2.0
"""The batch jobs: outputs are tried before the work, and what was learnt is not thrown away."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.lerobot_files import change_info, panda_dataset
from rl_learner.core import post_training
from vla_policy.core.backends.onnx_cache import exported
from vla_policy.core.normalise import STD_FLOOR, PolicyStats
from whetstone_cli.jobs import finetune, make_prior, post_train
from whetstone_cli.jobs.training_arguments import SHIPPED
from whetstone_common.core.enums import Actor
from whetstone_common.core.outputs import OutputError
from whetstone_common.nodes.resources import find

MAINS: dict[str, Callable[[Path, Path], int]] = {
    "finetune": lambda dataset, out: finetune.main([str(dataset), "--out", str(out)]),
    "make_prior": lambda dataset, out: make_prior.main([str(dataset), str(out)]),
}


@pytest.mark.parametrize("job", MAINS)
def test_when_the_output_cannot_be_made_expect_one_sentence_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: str
) -> None:
    (tmp_path / "file").touch()
    assert MAINS[job](tmp_path / "no_dataset", tmp_path / "file" / "out") == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("cannot write") and "is no folder" in said and "\n" not in said


@pytest.mark.parametrize("job", MAINS)
def test_when_the_output_is_there_expect_it_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert MAINS[job](tmp_path / "no_dataset", tmp_path / "out") == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "out" / "mine").exists()


@pytest.mark.parametrize("words", [["--steps", "0"], ["--average", "x"], ["--threads", "0"]])
def test_when_a_count_is_none_expect_its_name_and_what_is_allowed(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        finetune.parse(["dataset", "--out", "out", *words])
    said = capsys.readouterr().err
    assert words[0] in said and "1 or more" in said


@pytest.fixture(autouse=True)
def exports(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the trained models' graphs are kept."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache / "whetstone" / "onnx"


def run(*words: object) -> int:
    """A training of a few steps on few windows."""
    few = ["--steps=4", "--batch=4", "--save-every=2", "--threads=2"]
    return post_train.run([*map(str, words), *few])


def test_when_demonstrations_are_imitated_expect_a_model_curves_and_the_command_that_counts(
    tmp_path: Path, exports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = panda_dataset(tmp_path / "set", (12, 10, 8))
    assert run("sft", dataset, f"--out={tmp_path / 'model'}", "--held-out=0.34") == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert "3 of 3 episodes" in said and "held-out loss" in said and "whetstone eval" in said
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())["finetuned"]
    assert manifest["windows"] == 9 and manifest["steps"] == 4  # the episode of 12 is put aside
    assert list((tmp_path / "model.training" / "tensorboard").glob("events*"))
    assert not list((tmp_path / "model.training").glob("seed-*"))
    (graphs,) = exports.iterdir()
    assert exported(tmp_path / "model") == graphs, "vla_node has nothing to export"
    shipped = PolicyStats.load(find(SHIPPED) / "stats.json")
    assert PolicyStats.load(tmp_path / "model" / "stats.json") == shipped, "the base's statistics, unless asked"


def test_when_a_training_was_stopped_expect_it_gone_on_with_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, out = panda_dataset(tmp_path / "set"), tmp_path / "model"

    def full(_vla: Any, _out: Path, _extra: Any) -> None:
        raise ValueError("stopped before the end")

    with monkeypatch.context() as patch:
        patch.setattr(post_training, "_export", full)
        assert run("sft", dataset, f"--out={out}") == 2
    assert run("sft", dataset, f"--out={out}") == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert run("sft", dataset, f"--out={out}", "--resume") == 0
    assert (out / "manifest.json").is_file()


def test_when_the_statistics_are_taken_from_the_data_expect_their_range_at_plus_and_minus_one(tmp_path: Path) -> None:
    dataset = panda_dataset(tmp_path / "set", (16, 16))
    assert run("sft", dataset, f"--out={tmp_path / 'model'}", "--normalise=quantile", "--held-out=0") == 0
    stats = PolicyStats.load(tmp_path / "model" / "stats.json")
    assert min(stats.action.std) == pytest.approx(STD_FLOOR), "what does not move has the floor"
    assert stats != PolicyStats.load(find(SHIPPED) / "stats.json")


def test_when_no_episode_succeeded_expect_that_said_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = panda_dataset(tmp_path / "set", success=False)
    assert run("distill", dataset, f"--out={tmp_path / 'model'}") == 2
    assert "none of 2 episodes succeeded" in capsys.readouterr().err
    assert not (tmp_path / "model.training").exists()


def test_when_the_policy_drove_alone_expect_dagger_to_find_no_correction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = panda_dataset(tmp_path / "set", actor=int(Actor.POLICY))
    assert run("dagger", dataset, f"--out={tmp_path / 'model'}") == 2
    assert "none of them has a moment that this method imitates" in capsys.readouterr().err


def test_when_the_dataset_is_of_another_arm_expect_its_joints_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = panda_dataset(tmp_path / "set")

    def rename(info: dict[str, Any]) -> None:
        for column in ("observation.state", "action"):
            info["features"][column]["names"] = [f"ur_{n}" for n in range(8)]

    change_info(dataset, rename)
    assert run("sft", dataset, f"--out={tmp_path / 'model'}") == 2
    assert "ur_0" in capsys.readouterr().err


def test_when_the_folder_is_no_dataset_expect_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run("sft", tmp_path / "empty", f"--out={tmp_path / 'model'}") == 2
    assert str(tmp_path / "empty") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "name"), [("--held-out=nan", "held_out"), ("--clip=0", "clip"), ("--lr=0", "learning_rate")]
)
def test_when_a_number_cannot_work_expect_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, name: str
) -> None:
    assert run("sft", tmp_path, f"--out={tmp_path / 'model'}", word) == 2
    assert name in capsys.readouterr().err


def test_when_the_place_fails_after_the_training_expect_the_model_elsewhere_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def export(self, out: Path, extra: dict[str, int]) -> None:
            if out.parent == tmp_path / "full":
                raise OSError(28, "No space left on device")
            out.mkdir(parents=True)
            (out / "manifest.json").write_text(json.dumps(extra))

    monkeypatch.setattr(post_training.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OutputError, match="No space left on device; the model is in") as moved:
        post_training._export(Full(), tmp_path / "full" / "model", {"steps": 7})
    (made,) = tmp_path.glob("whetstone_finetuned_*/model/manifest.json")
    assert str(made.parent) in str(moved.value)


def spread(*words: object) -> subprocess.CompletedProcess[str]:
    """The same training in two processes."""
    few = ["--steps=4", "--batch=4", "--save-every=2", "--threads=2"]
    command = [sys.executable, "-m", "whetstone_cli.jobs.spread", "2", "post_train", *map(str, words), *few]
    return subprocess.run(command, capture_output=True, text=True, timeout=110.0, check=False)


def test_when_two_processes_train_expect_one_model_and_each_line_said_once(tmp_path: Path) -> None:
    dataset = panda_dataset(tmp_path / "set", (12, 10, 8))
    done = spread("sft", dataset, f"--out={tmp_path / 'model'}", "--held-out=0.34")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 of 3 episodes") == done.stdout.count("wrote ") == 1
    losses = [float(text) for text in re.findall(r"held-out loss ([\d.]+)", done.stdout)]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert json.loads((tmp_path / "model" / "manifest.json").read_text())["finetuned"]["windows"] == 9
    assert len(list((tmp_path / "model.training" / "tensorboard").glob("events*"))) == 1


def test_when_two_processes_cannot_train_expect_the_reason_without_the_launchers_call_stack(tmp_path: Path) -> None:
    done = spread("sft", tmp_path / "no_dataset", f"--out={tmp_path / 'model'}")
    assert done.returncode == 2
    assert "no_dataset" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_when_the_graphs_cannot_be_kept_expect_the_model_all_the_same(
    tmp_path: Path, exports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exports.parent.mkdir(parents=True)
    exports.write_text("no folder")
    dataset = panda_dataset(tmp_path / "set", (12, 10))
    assert run("sft", dataset, f"--out={tmp_path / 'model'}", "--held-out=0") == 0
    assert "when it is first served" in capsys.readouterr().out.replace("\n", " ")
    assert (tmp_path / "model" / "manifest.json").is_file()
