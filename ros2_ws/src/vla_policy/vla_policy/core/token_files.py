# SPDX-License-Identifier: Apache-2.0
"""The RL token of a model directory: a file of the encoder's weights, and its sizes in the manifest.

Needs no torch until an encoder is read, so that a report of a directory can name its features at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.feature_version import FEATURE_VERSION
from vla_policy.core.files import MANIFEST, manifest_as, read_manifest
from whetstone_common.core.foreign import OpenModel, StrictModel

if TYPE_CHECKING:
    from vla_policy.core.rl_token import TokenEncoder, TokenShape

ENCODER_FILE = "rl_token.safetensors"
MEAN_FEATURES = "mean of embeddings, as no RL token has been trained: whetstone features train"
SHAPE_KEY, _TRAINING_KEY = "rl_token", "token_training"
_Count = Annotated[int, Field(ge=1)]


class _TokenShape(StrictModel):
    embedding_dim: _Count
    count: _Count
    width: _Count
    heads: _Count
    layers: _Count
    token_dim: _Count


class _Training(OpenModel):
    frames: _Count


class _TokenEntries(OpenModel):
    rl_token: _TokenShape
    token_training: _Training | None = None


def has_token(directory: Path) -> bool:
    """Whether a directory has, or says that it has, an RL token."""
    if (directory / ENCODER_FILE).is_file():
        return True
    return (directory / MANIFEST).is_file() and ENCODER_FILE in read_manifest(directory, ())["files"]


def describe_features(directory: Path) -> str:
    """What the features of a published checkpoint are made of; of its files, the token alone is compared with its hash.

    Raises:
        CheckpointError: The token cannot be used.
    """
    if not has_token(directory):
        return MEAN_FEATURES
    entries = _entries(read_manifest(directory, (ENCODER_FILE,)), directory)
    training = entries.token_training
    frames = "" if training is None else f" (trained on {training.frames} frames)"
    return f"RL token of {entries.rl_token.token_dim}{frames}"


def token_entries(shape: TokenShape, training: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a manifest: the sizes, and what the token was trained on, `frames` among it."""
    return {SHAPE_KEY: asdict(shape), _TRAINING_KEY: dict(training)}


def kept_token_entries(directory: Path) -> dict[str, Any]:
    """Those of a directory that has a token, for one made of it with the same vision-language part.

    Raises:
        CheckpointError: The token cannot be used.
    """
    manifest = read_manifest(directory, (ENCODER_FILE,))
    _entries(manifest, directory)
    return {name: manifest[name] for name in (SHAPE_KEY, _TRAINING_KEY, FEATURE_VERSION) if name in manifest}


def read_encoder(manifest: Mapping[str, Any], directory: Path, embedding_dim: int, count: int) -> TokenEncoder:
    """The encoder of a directory whose manifest was compared with its files.

    Args:
        manifest: As `read_manifest` gives it.
        directory: Where it lies.
        embedding_dim: Width of the model's embeddings.
        count: Embeddings of a prefix without its words.

    Raises:
        CheckpointError: It is not sealed, or of another model.
    """
    from vla_policy.core.rl_token import TokenEncoder, TokenShape
    from vla_policy.core.tensor_files import load_strictly, read_tensors

    shape, path = _entries(manifest, directory).rl_token, directory / ENCODER_FILE
    for name, expected in (("embedding_dim", embedding_dim), ("count", count)):
        if (value := getattr(shape, name)) != expected:
            raise CheckpointError(f"{directory}: the manifest's rl_token.{name} is {value}, the model has {expected}")
    encoder = TokenEncoder(TokenShape(**shape.model_dump())).eval()
    load_strictly(encoder, read_tensors(path), str(path))
    return encoder


def _entries(manifest: Mapping[str, Any], directory: Path) -> _TokenEntries:
    if ENCODER_FILE not in manifest["files"]:
        raise CheckpointError(f"{directory}: the manifest does not list {ENCODER_FILE}: train it anew, or remove it")
    return manifest_as(_TokenEntries, manifest, directory)
