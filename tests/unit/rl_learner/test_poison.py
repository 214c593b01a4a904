# SPDX-License-Identifier: Apache-2.0
"""Row 30 at every door of the learner's package: bytes that would run code are refused, and nothing is run."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - made here, to be refused
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experience.core import codec
from experience.core.spool.scan import scan
from rl_learner.core import checkpoint
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.config import read_method_config
from vla_policy.core.files import write_manifest

pytestmark = pytest.mark.row(30)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.marker, "w")


def as_pickle(marker: Path) -> bytes:
    return pickle.dumps(Bomb(marker))


def as_torch_file(marker: Path) -> bytes:
    path = marker.with_suffix(".pt")
    torch.save({"weights": Bomb(marker)}, path)
    return path.read_bytes()


def as_object_array(marker: Path) -> bytes:
    path = marker.with_suffix(".npy")
    np.save(path, np.array([Bomb(marker)], dtype=object), allow_pickle=True)
    return path.read_bytes()


def as_json_that_names_code(marker: Path) -> bytes:
    return json.dumps({"py/reduce": [{"py/function": "builtins.open"}, {"py/tuple": [str(marker), "w"]}]}).encode()


POISONS = (as_pickle, as_torch_file, as_object_array, as_json_that_names_code)
Poison = Callable[[Path], bytes]


@pytest.fixture
def marker(tmp_path: Path) -> Any:
    path = tmp_path / "ran"
    yield path
    assert not path.exists(), "code was run"


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("name", ["learner.safetensors", "replay-online.safetensors"])
def test_when_a_checkpoint_holds_code_expect_refusal(tmp_path: Path, marker: Path, poison: Poison, name: str) -> None:
    snapshot = checkpoint.Snapshot(1, {"a": torch.zeros(1)}, {"online": {"b": torch.zeros(1)}}, {})
    folder = checkpoint.save(tmp_path / "checkpoints", snapshot)
    (folder / name).write_bytes(poison(marker))
    with pytest.raises(CheckpointError):
        checkpoint.load(folder)
    # even when the one who put it there wrote a manifest that fits
    body = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, body.pop("files"), body)
    with pytest.raises(CheckpointError):
        checkpoint.load(folder)


@pytest.mark.parametrize("poison", POISONS)
def test_when_a_transition_holds_code_expect_refusal(marker: Path, poison: Poison) -> None:
    data = poison(marker)
    for payload in (data, len(data).to_bytes(4, "little") + data, len(data).to_bytes(8, "little") + data):
        with pytest.raises(codec.CodecError):
            codec.decode(payload)


@pytest.mark.parametrize("poison", POISONS)
def test_when_a_spool_holds_code_expect_nothing_of_it(marker: Path, poison: Poison) -> None:
    found = scan(poison(marker))
    assert not found.records


@pytest.mark.parametrize(
    "text",
    [
        "expo: !!python/object/apply:builtins.open ['{marker}', 'w']",
        "!!python/object/apply:os.system ['touch {marker}']",
        "expo:\n  steps: !!python/name:os.system ''",
        "schedule:\n  batch: !!python/object/new:builtins.open ['{marker}', 'w']\nexpo: {{}}",
    ],
)
def test_when_a_method_file_holds_code_expect_refusal(tmp_path: Path, marker: Path, text: str) -> None:
    path = tmp_path / "method.yaml"
    path.write_text(text.format(marker=marker), encoding="utf-8")
    with pytest.raises(ValueError, match=r"method\.yaml: "):
        read_method_config(path)
