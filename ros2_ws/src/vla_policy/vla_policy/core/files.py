# SPDX-License-Identifier: Apache-2.0
"""Directories of a model that are whole or refused: SHA-256 manifest, written last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.normalise import StatsError
from vla_policy.core.tokenizer import VocabularyError
from whetstone_common.core.foreign import OpenModel, SchemaError, parsed, read_json, reading

MANIFEST = "manifest.json"
S = TypeVar("S", bound=BaseModel)


class _Manifest(OpenModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=True)

    files: dict[str, str]


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


def read_manifest(directory: Path, names: Collection[str] | None = None) -> dict[str, Any]:
    """Manifest of a sealed directory, after each hash was compared.

    Args:
        directory: of a model.
        names: files to compare, of those that it lists; None for all.

    Raises:
        CheckpointError: no manifest, or a file is absent or altered.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{directory} has no {MANIFEST}: the checkpoint is not complete")
    body = read_json(path, _Manifest, CheckpointError)
    for name, digest in body.files.items():
        if names is not None and name not in names:
            continue
        if Path(name).name != name or not (directory / name).is_file():
            raise CheckpointError(f"{directory / name} is missing")
        if sha256_of(directory / name) != digest:
            raise CheckpointError(f"{directory / name} does not have the SHA-256 of the manifest")
    return body.model_dump()


@contextmanager
def model_directory(directory: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a model directory is loaded into one sentence that begins with it.

    Raises:
        CheckpointError: something in it is not what it should be.
    """
    with reading(directory, CheckpointError):
        try:
            yield
        except (StatsError, VocabularyError) as error:
            raise CheckpointError(str(error)) from error


def manifest_as(schema: type[S], manifest: Mapping[str, Any], directory: Path) -> S:
    """The entries of a manifest that a loader needs.

    Raises:
        CheckpointError: one is missing, or cannot be used.
    """
    try:
        return parsed(schema, dict(manifest))
    except SchemaError as error:
        raise CheckpointError(f"{directory / MANIFEST}: {error}") from error
