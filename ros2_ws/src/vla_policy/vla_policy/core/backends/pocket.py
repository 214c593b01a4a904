# SPDX-License-Identifier: Apache-2.0
"""The embedded VLA: PI0 at a few million parameters, with its own words and its RL token."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from transformers import PI0Config

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core import vision
from vla_policy.core.architecture import build_model
from vla_policy.core.backends.pi0 import Pi0Backend, sizes_of
from vla_policy.core.backends.pi0_parts import Parts
from vla_policy.core.conditioning import conditioning_in
from vla_policy.core.eyes import Eyes, EyesShape
from vla_policy.core.feature_version import FEATURE_VERSION
from vla_policy.core.files import manifest_as, model_directory, read_manifest
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.prompter import WordPrompter
from vla_policy.core.rl_token import TokenFeaturizer
from vla_policy.core.tensor_files import load_strictly, read_tensors
from vla_policy.core.token_files import ENCODER_FILE, read_encoder
from vla_policy.core.tokenizer import READOUTS, WordTokenizer
from whetstone_common.core.foreign import Name, OpenModel, StrictModel, read_json

REQUIRED = ("config.json", "model.safetensors", ENCODER_FILE, "stats.json", "vocab.json")
EYES = "eyes.safetensors"  # of a pocket VLA that has them


_Count = Annotated[int, Field(ge=1)]


class _EyesShape(StrictModel):
    vocab_size: _Count
    prompt_length: _Count
    image_size_px: _Count
    proprio_dim: _Count
    channels: Annotated[list[_Count], Field(min_length=1)]
    layers: _Count
    words_width: _Count
    hidden: _Count


class _PocketEntries(OpenModel):
    model_id: Name
    eyes: _EyesShape | None = None


class _PocketConfig(OpenModel):
    model_config = ConfigDict(extra="allow")


class PocketBackend(Pi0Backend):
    """`Pi0Backend` whose loader needs no hub and no tokenizer library."""

    @classmethod
    def load(cls, directory: str, **options: Any) -> PocketBackend:
        """Loads a sealed pocket directory; see `Pi0Backend` for `options`."""
        return cls(load_pocket(Path(directory)), **options)


def load_pocket(directory: Path) -> Parts:
    """Everything of a pocket directory, hashes first.

    Raises:
        CheckpointError: a file or a tensor is not what it should be.
    """
    with model_directory(directory):
        manifest = read_manifest(directory)
        absent = [name for name in REQUIRED if name not in manifest["files"]]
        if absent:
            raise CheckpointError(f"{directory}: the manifest does not list {absent}")
        entries = manifest_as(_PocketEntries, manifest, directory)
        config = _config(directory / "config.json")
        model = build_model(config)
        model.set_attn_implementation("eager")  # sequences are short: the fused kernel costs more than it saves
        path = directory / "model.safetensors"
        load_strictly(model, read_tensors(path), str(path))
        stats = PolicyStats.load(directory / "stats.json")
        tokens = sizes_of(config).image_tokens * len(stats.cameras)
        width, count = int(config.vlm_config.text_config.hidden_size), tokens + len(READOUTS)
        return Parts(
            model=model,
            stats=stats,
            prompter=WordPrompter(_tokenizer(directory, config), tokens),
            featurizer=TokenFeaturizer(read_encoder(manifest, directory, width, count), tokens, len(READOUTS)),
            model_id=entries.model_id,
            conditioning=conditioning_in(manifest, directory),
            eyes=None if entries.eyes is None else _eyes(directory, entries.eyes, config, stats),
            feature_version=str(manifest.get(FEATURE_VERSION, "")),
        )


def _config(path: Path) -> PI0Config:
    body = read_json(path, _PocketConfig, CheckpointError).model_dump()
    tower = (body.get("vlm_config") or {}).get("vision_config", {}).get("model_type")
    if body.get("model_type") != "pi0" or tower != vision.ConvTowerConfig.model_type:
        raise CheckpointError(f"{path} does not describe a pocket VLA")
    # transformers keeps what it does not know, so a misspelt key would leave a default in its place
    if unknown := sorted(set(body) - set(PI0Config().to_dict()) - {"transformers_version"}):
        raise CheckpointError(f"{path}: the key {unknown[0]} is unknown")
    return PI0Config.from_dict(body)


def _tokenizer(directory: Path, config: PI0Config) -> WordTokenizer:
    tokenizer = WordTokenizer.load(directory / "vocab.json")
    size = config.vlm_config.text_config.vocab_size
    if tokenizer.vocab_size != size:
        raise CheckpointError(f"{directory / 'vocab.json'} has {tokenizer.vocab_size} ids, the model {size}")
    return tokenizer


def _eyes(directory: Path, shape: _EyesShape, config: PI0Config, stats: PolicyStats) -> Eyes:
    wanted = {
        "image_size_px": int(config.vlm_config.vision_config.image_size),
        "proprio_dim": stats.proprio.dim,
        "cameras": len(stats.cameras),
    }
    given = {**shape.model_dump(), "cameras": len(shape.channels)}
    for name, value in wanted.items():
        if given[name] != value:
            raise CheckpointError(f"{directory}: the manifest's eyes have {name} {given[name]}, the model has {value}")
    eyes = Eyes(EyesShape(**shape.model_dump() | {"channels": tuple(shape.channels)})).eval()
    load_strictly(eyes, read_tensors(directory / EYES), str(directory / EYES))
    return eyes
