# SPDX-License-Identifier: Apache-2.0
"""Directories of tensors that are whole or refused: SHA-256 manifest written last, safetensors only.

A tensor file is accepted when it has exactly the names and shapes that are expected and every number is finite.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

MANIFEST = "manifest.json"


class CheckpointError(ValueError):
    """Files that are not what they should be; the message names the first thing that is wrong."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(directory: Path, names: Iterable[str], extra: Mapping[str, Any] | None = None) -> None:
    """Seals a directory: hashes of `names` and what else is to be known, in one atomic last step."""
    body = {**(extra or {}), "files": {name: sha256_of(directory / name) for name in sorted(names)}}
    partial = directory / (MANIFEST + ".partial")
    partial.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(directory / MANIFEST)


def read_manifest(directory: Path) -> dict[str, Any]:
    """Manifest of a sealed directory, after each hash was compared.

    Raises:
        CheckpointError: no manifest, or a file is absent or altered.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{directory} has no {MANIFEST}: the checkpoint is not complete")
    body = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(body, dict) or not isinstance(body.get("files"), dict):
        raise CheckpointError(f"{path} does not list its files")
    for name, digest in body["files"].items():
        if Path(name).name != name or not (directory / name).is_file():
            raise CheckpointError(f"{directory / name} is missing")
        if sha256_of(directory / name) != digest:
            raise CheckpointError(f"{directory / name} does not have the SHA-256 of the manifest")
    return body


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Refuses missing, extra, mis-shaped and non-finite tensors.

    Raises:
        CheckpointError: with the first name that is wrong.
    """
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing:
        raise CheckpointError(f"{source}: {len(missing)} tensors are missing, first {missing[0]!r}")
    if extra:
        raise CheckpointError(f"{source}: {len(extra)} tensors are unknown, first {extra[0]!r}")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{source}: {name!r} has shape {tuple(tensor.shape)}, wanted {tuple(expected[name].shape)}"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{source}: {name!r} is not finite")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of one safetensors file.

    Raises:
        CheckpointError: the file is absent or is not a safetensors file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies `tensors` into `module` after `check_tensors`."""
    check_tensors(tensors, module.state_dict(), source)
    module.load_state_dict(dict(tensors), strict=True)
