# SPDX-License-Identifier: Apache-2.0
"""`whetstone recap` and `whetstone value`: what the batch jobs are given."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from whetstone_cli.cli import jobs
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.main import app


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Jobs that would have run."""
    calls: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(jobs, "run_job", lambda name, words: calls.append((name, words)))
    return calls


def call(*words: object) -> None:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


def a_run(folder: Path, *, recorded: bool) -> Path:
    (folder / "mcap").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    if recorded:
        (folder / "mcap" / "one.mcap").touch()
    return folder


def test_when_runs_and_datasets_are_given_expect_recordings_of_the_run_and_the_rest_as_it_is(
    started: list[tuple[str, list[str]]], tmp_path: Path
) -> None:
    run, dataset = a_run(tmp_path / "run", recorded=True), tmp_path / "dataset"
    call("recap", run, dataset, "--out", tmp_path / "model", "--held-out", "0", "--steps", "7")
    ((name, words),) = started
    assert (name, words[:3]) == ("post_train", ["recap", str(run / "mcap"), str(dataset)])
    assert {f"--out={tmp_path / 'model'}", "--held-out=0.0", "--steps=7"} <= set(words)


def test_when_a_run_kept_no_images_expect_how_to_keep_them(
    started: list[tuple[str, list[str]]], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="kept no images\n\nTrain it with --record"):
        call("recap", a_run(tmp_path / "run", recorded=False), "--out", tmp_path / "model")
    assert not started


def test_when_a_value_is_drawn_expect_recording_model_and_file(
    started: list[tuple[str, list[str]]], tmp_path: Path
) -> None:
    call("value", tmp_path / "one.mcap", "--value", "models/recap-1", "--out", tmp_path / "value.mp4", "--episode", "0")
    ((name, words),) = started
    assert (name, words[0]) == ("value", str(tmp_path / "one.mcap"))
    assert {"--value=models/recap-1", f"--out={tmp_path / 'value.mp4'}", "--episode=0"} <= set(words)
