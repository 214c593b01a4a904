# SPDX-License-Identifier: Apache-2.0
"""The embedded VLA: PI0 at a few million parameters, with its own words and its RL token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PI0Config

from vla_policy.core import vision
from vla_policy.core.architecture import build_model
from vla_policy.core.backends.pi0 import Parts, Pi0Backend
from vla_policy.core.files import CheckpointError, load_strictly, read_manifest, read_tensors
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.protocol import ObservationError
from vla_policy.core.rl_token import TokenEncoder, TokenShape, prefix_embeddings
from vla_policy.core.tokenizer import IMAGE, READOUTS, WordTokenizer

REQUIRED = ("config.json", "model.safetensors", "rl_token.safetensors", "stats.json", "vocab.json")


@dataclass(frozen=True)
class WordPrompter:
    """Image placeholders and the tokenizer's fixed-length prompt; nothing is masked."""

    tokenizer: WordTokenizer
    image_tokens: int

    def __call__(self, instruction: str) -> tuple[Tensor, Tensor | None]:
        """Ids [1, S]; raises ObservationError when there are too many words."""
        return _prompt(self, instruction), None


@lru_cache(maxsize=256)
def _prompt(prompter: WordPrompter, instruction: str) -> Tensor:
    try:
        words = prompter.tokenizer.encode(instruction)
    except ValueError as error:
        raise ObservationError(str(error)) from error
    return torch.tensor([[IMAGE] * prompter.image_tokens + words])


@dataclass(frozen=True)
class TokenFeaturizer:
    """RL token of the prefix, then the readouts: what the model knows of the instructed object and goal."""

    encoder: TokenEncoder
    image_tokens: int

    @property
    def dim(self) -> int:
        """Length of the token and the readouts."""
        shape = self.encoder.shape
        return shape.token_dim + len(READOUTS) * shape.embedding_dim

    def __call__(self, last: Tensor) -> Tensor:
        """[1, S, D] -> [dim]."""
        token: Tensor = self.encoder(prefix_embeddings(last.float(), self.image_tokens))[0]
        return torch.cat([token, last[0, -len(READOUTS) :].float().flatten()])


class PocketBackend(Pi0Backend):
    """`Pi0Backend` whose loader needs no hub and no tokenizer library."""

    @classmethod
    def load(cls, directory: str, **options: Any) -> PocketBackend:
        """Loads a sealed pocket directory; see `Pi0Backend` for `options`."""
        return cls(load_pocket(Path(directory)), **options)


def image_tokens_of(config: PI0Config, cameras: int) -> int:
    """Image placeholders in one prompt."""
    tower = config.vlm_config.vision_config
    return int((tower.image_size // tower.patch_size) ** 2 * cameras)


def load_pocket(directory: Path) -> Parts:
    """Everything of a pocket directory, hashes first.

    Raises:
        CheckpointError: a file or a tensor is not what it should be.
    """
    manifest = read_manifest(directory)
    absent = [name for name in REQUIRED if name not in manifest["files"]]
    if absent:
        raise CheckpointError(f"{directory}: the manifest does not list {absent}")
    body = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    tower = body.get("vlm_config", {}).get("vision_config", {}).get("model_type")
    if body.get("model_type") != "pi0" or tower != vision.ConvTowerConfig.model_type:
        raise CheckpointError(f"{directory / 'config.json'} does not describe a pocket VLA")
    config = PI0Config.from_dict(body)
    model = build_model(config)
    model.set_attn_implementation("eager")  # sequences are short: the fused kernel costs more than it saves
    load_strictly(model, read_tensors(directory / "model.safetensors"), "model.safetensors")
    stats = PolicyStats.load(directory / "stats.json")
    tokens = image_tokens_of(config, len(stats.cameras))
    tokenizer = WordTokenizer.load(directory / "vocab.json")
    if tokenizer.vocab_size != config.vlm_config.text_config.vocab_size:
        raise CheckpointError(f"vocab.json has {tokenizer.vocab_size} ids, the model another number")
    encoder = TokenEncoder(TokenShape(**manifest["rl_token"])).eval()
    load_strictly(encoder, read_tensors(directory / "rl_token.safetensors"), "rl_token.safetensors")
    return Parts(
        model=model,
        stats=stats,
        prompter=WordPrompter(tokenizer, tokens),
        featurizer=TokenFeaturizer(encoder, tokens),
        model_id=str(manifest["model_id"]),
    )
