# SPDX-License-Identifier: Apache-2.0
"""The batch jobs: outputs are tried before the work, and what was learnt is not thrown away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rl_learner.cli import finetune, make_prior
from whetstone_common.core.outputs import OutputError

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


@pytest.mark.parametrize(
    "words", [["--steps", "0"], ["--average", "x"], ["--executed", "-1"], ["--stride", "0"], ["--threads", "0"]]
)
def test_when_a_count_is_none_expect_its_name_and_what_is_allowed(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        finetune.parse(["dataset", "--out", "out", *words])
    said = capsys.readouterr().err
    assert words[0] in said and "1 or more" in said


def test_when_the_place_fails_after_the_training_expect_the_model_elsewhere_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(_source: Path, out: Path, _model: Any, extra: dict[str, int]) -> None:
        if out.parent == tmp_path / "full":
            raise OSError(28, "No space left on device")
        out.mkdir(parents=True)
        (out / "manifest.json").write_text(json.dumps(extra))

    monkeypatch.setattr(finetune, "export_finetuned", export)
    monkeypatch.setattr(finetune.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OutputError, match="No space left on device; the model is in") as moved:
        finetune.export_model(tmp_path, tmp_path / "full" / "model", None, {"steps": 7})
    (made,) = tmp_path.glob("whetstone_finetuned_*/model/manifest.json")
    assert str(made.parent) in str(moved.value)
