# SPDX-License-Identifier: Apache-2.0
"""`whetstone features train` as a command and as a job: what it passes on, says and leaves, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes.lerobot_files import panda_dataset
from fakes.recordings import recording
from fakes.threads import one_thread
from harness.published import checkpoint, mapping_text
from vla_policy.core.token_files import describe_features
from whetstone_cli.cli import jobs
from whetstone_cli.cli.main import app
from whetstone_cli.jobs import features


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A published checkpoint of a policy with 20 steps per second."""
    return checkpoint(tmp_path / "base", mapping=mapping_text().replace("dt_s: 0.1", "dt_s: 0.05"))


def run(*words: object) -> int:
    with one_thread():
        return features.run([*map(str, words), "--steps=4", "--batch=4", "--save-every=2", "--threads=1"])


def test_when_a_token_is_trained_expect_the_held_out_loss_the_features_and_a_folder_of_curves(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    dataset = panda_dataset(tmp_path / "set", (12, 10, 8))
    assert run(dataset, f"--base={base}", f"--out={out}", "--dim=24", "--held-out=0.34") == 0
    said = "".join(capsys.readouterr().out.split())  # lines are wrapped
    assert "step0:held-outloss" in said and "step4:held-outloss" in said
    assert f"wrote{out};features:RLtokenof24(trainedon9frames)" in said
    assert describe_features(out) == "RL token of 24 (trained on 9 frames)"
    assert list((tmp_path / "model.training" / "tensorboard").glob("events*"))
    assert not list((tmp_path / "model.training").glob("seed-*"))


def test_when_recordings_are_given_expect_their_frames_looked_at(base: Path, tmp_path: Path) -> None:
    (tmp_path / "mcap").mkdir()
    recording(tmp_path / "mcap" / "episode.mcap", range(12))
    out = tmp_path / "model"
    assert run(tmp_path / "mcap", f"--base={base}", f"--out={out}", "--held-out=0", "--stride=3") == 0
    assert describe_features(out) == "RL token of 64 (trained on 4 frames)"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--base=nowhere"], "nowhere"),
        (["--resume"], "no checkpoint to go on from"),
        (["--held-out=0.95"], "held_out is 0.95, allowed: 0 to 0.9"),
        (["--lr=nan"], "learning_rate is nan"),
    ],
)
def test_when_it_cannot_be_trained_expect_one_sentence_code_two_and_nothing_left(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    dataset = panda_dataset(tmp_path / "set", (6,))
    assert run(dataset, f"--base={base}", f"--out={tmp_path / 'model'}", *words) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said and "\n" not in said
    assert not list(tmp_path.glob("model*"))


def test_when_it_is_called_expect_its_options_passed_to_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = list[tuple[str, list[str]]]()
    monkeypatch.setattr(jobs, "run_job", lambda name, words: called.append((name, words)))
    done = CliRunner().invoke(
        app, ["features", "train", "a", "b", "--base=pi0", f"--out={tmp_path / 'new'}", "--dim=32", "--held-out=0"]
    )
    assert done.exit_code == 0, done.output
    (name, words) = called[0]
    assert name == "features" and words[:2] == ["a", "b"]
    assert {"--base=pi0", "--dim=32", "--held-out=0.0", "--stride=2", "--steps=1000"} < set(words)
    parsed = features.parser_of().parse_args(words)
    assert (parsed.dim, parsed.held_out, parsed.disk_gb, parsed.resume) == (32, 0.0, 16.0, False)


def test_when_the_output_is_there_expect_it_refused_before_a_job_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = list[str]()
    monkeypatch.setattr(jobs, "run_job", lambda name, _words: called.append(name))
    done = CliRunner().invoke(app, ["features", "train", "a", f"--out={tmp_path}"])
    assert done.exit_code != 0 and "exists already" in str(done.exception) and not called
