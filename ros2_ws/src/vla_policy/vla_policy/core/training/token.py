# SPDX-License-Identifier: Apache-2.0
"""Trains the RL token on the prefix embeddings of a frozen VLA (RLT, stage 1: arXiv 2604.23073).

Legend: R rows (one observation each), B batch, M prefix embeddings, D their width, Z size of the token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PI0ForConditionalGeneration

from vla_policy.core.architecture import PocketShape
from vla_policy.core.flow import encode_prefix
from vla_policy.core.preprocess import pixels_from_uint8, prompt_ids
from vla_policy.core.rl_token import TokenDecoder, TokenEncoder, TokenShape, prefix_embeddings
from vla_policy.core.tokenizer import READOUTS, WordTokenizer
from vla_policy.core.training.dataset import ChunkDataset
from vla_policy.core.training.embeddings import EmbeddingScale, TokenData
from vla_policy.core.training.loop import TrainingLoop, draws
from vla_policy.core.training.run import CheckpointedTraining, spread
from vla_policy.core.training.settings import TokenConfig

_MOST_HELD_OUT = 256  # rows that the held-out loss is the mean of


class TokenInputs(NamedTuple):
    """A batch.

    Attributes:
        embeddings: [B, M, D].
        keep: bool [B, M] what of them the decoder is shown; the rest it must know from the token.
    """

    embeddings: Tensor
    keep: Tensor


def token_inputs(embeddings: Tensor, share: float, generator: torch.Generator) -> TokenInputs:
    """A batch of which the decoder is shown a share."""
    keep = torch.rand(embeddings.shape[:2], generator=generator) < share
    return TokenInputs(embeddings, keep.to(embeddings.device))


class TokenObjective(nn.Module):
    """Rebuilds what was centred and scaled; the loss is the share of the variance that is not rebuilt.

    Args:
        encoder: What will be shipped.
        scale: Of the embeddings, where the objective is.
    """

    def __init__(self, encoder: TokenEncoder, scale: EmbeddingScale) -> None:
        super().__init__()
        self.encoder, self.decoder, self._scale = encoder, TokenDecoder(encoder.shape), scale

    def forward(self, inputs: TokenInputs) -> dict[str, Tensor]:
        """Losses by name: `loss`."""
        centred = self._scale.centred(inputs.embeddings)
        rebuilt = self.decoder(self.encoder(centred), centred, inputs.keep)
        error = (rebuilt.float() - centred).pow(2).mean(-1)
        return {"loss": (error * self._scale.weight).sum(-1).mean()}


class TokenRun(CheckpointedTraining):
    """One training of a token.

    Args:
        data: Embeddings of the frozen VLA.
        shape: Sizes.
        config: Hyperparameters.
        folder: Of its checkpoints.
        origin: What a checkpoint must have been made of to be gone on from, as JSON can hold it.
        device: Where it is computed.
    """

    def __init__(
        self,
        data: TokenData,
        shape: TokenShape,
        config: TokenConfig,
        folder: Path,
        origin: Mapping[str, Any] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._data, self._config, self._place = data, config, device or torch.device("cpu")
        self._scale = data.scale.on(self._place)
        torch.manual_seed(config.seed)
        self._encoder = TokenEncoder(shape)
        objective = TokenObjective(self._encoder, self._scale).to(self._place)
        given = {"config": asdict(config), "shape": asdict(shape), **(origin or {})}
        super().__init__(objective, config, folder, given)

    def encoder(self, weights: Mapping[str, Tensor]) -> TokenEncoder:
        """The encoder to ship, of raw embeddings, from what `run` has returned."""
        own = {key.removeprefix("encoder."): value for key, value in weights.items() if key.startswith("encoder.")}
        self._encoder.load_state_dict(own)
        return self._scale.folded_into(self._encoder).cpu().eval()

    def inputs(self, step: int) -> TokenInputs:
        """Rows drawn with replacement, and what the decoder is shown of them."""
        _, generator = draws(self._config.seed, step)
        rows = self._data.train[torch.randint(len(self._data.train), (self._config.batch,), generator=generator)]
        return token_inputs(self._taken(rows), self._config.teacher_share, generator)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Share of the variance of what was put aside that the token alone does not rebuild; NaN without any."""
        rows, total = spread(self._data.held_out, _MOST_HELD_OUT), 0.0
        if not len(rows):
            return float("nan")
        with self._loop.with_average():
            for part in rows.split(self._config.batch):
                inputs = token_inputs(self._taken(part), 0.0, torch.Generator())
                total += float(self._loop.losses(inputs)["loss"]) * len(part)
        return total / len(rows)

    def _taken(self, rows: Tensor) -> Tensor:
        return self._data.rows[rows].float().to(self._place)


# ---- of a pocket VLA that is trained from nothing: embeddings are computed as they are drawn -----------------------


@torch.no_grad()
def embeddings_of(
    model: PI0ForConditionalGeneration, data: ChunkDataset, ids: Tensor, rng: np.random.Generator, count: int
) -> Tensor:
    """[count, M, D] frozen prefix embeddings of windows drawn from `data`."""
    batch = data.batch(rng, count)
    pixels = pixels_from_uint8(torch.from_numpy(batch.images))
    seen = torch.ones(pixels.shape[:2], dtype=torch.bool)
    chosen = ids[torch.from_numpy(batch.instruction)]
    with torch.autocast("cpu", torch.bfloat16):
        prefix = encode_prefix(model, chosen, pixels, seen)
    words = ids.shape[1] - int((ids[0] == ids[0, 0]).sum())
    return prefix_embeddings(prefix.last.float(), ids.shape[1] - words, len(READOUTS))


def train_token(
    model: PI0ForConditionalGeneration,
    data: ChunkDataset,
    tokenizer: WordTokenizer,
    shapes: tuple[PocketShape, TokenShape],
    config: TokenConfig,
    report: Callable[[int, float], None],
) -> TokenEncoder:
    """Trains encoder and decoder together; returns the encoder alone."""
    shape, token_shape = shapes
    torch.manual_seed(config.seed)
    encoder = TokenEncoder(token_shape)
    scale = EmbeddingScale.plain(token_shape.count, token_shape.embedding_dim, len(READOUTS))
    loop = TrainingLoop(TokenObjective(encoder, scale), config.loop, bf16=True)
    ids = prompt_ids(tokenizer, data.instructions, shape, cameras=2)
    model.eval()
    for step in range(config.steps):
        rng = np.random.default_rng([config.seed, 1, step])
        _, generator = draws(config.seed, step)
        embeddings = embeddings_of(model, data, ids, rng, config.batch)
        metrics = loop.advance(token_inputs(embeddings, config.teacher_share, generator))
        report(step, metrics.losses["loss"])
    return encoder.eval()
