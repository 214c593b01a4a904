# SPDX-License-Identifier: Apache-2.0
"""Trains the RL token on the frozen VLA's prefix embeddings (RLT, stage 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PI0ForConditionalGeneration

from vla_policy.core.architecture import PocketShape
from vla_policy.core.flow import encode_prefix
from vla_policy.core.preprocess import pixels_from_uint8, prompt_ids
from vla_policy.core.rl_token import TokenDecoder, TokenEncoder, TokenShape, prefix_embeddings, reconstruction_loss
from vla_policy.core.tokenizer import WordTokenizer
from vla_policy.core.training.dataset import ChunkDataset


@dataclass(frozen=True)
class TokenConfig:
    """Hyperparameters of stage 1.

    Attributes:
        steps: optimiser steps.
        batch: windows per step.
        learning_rate: peak of a cosine without warm-up.
        teacher_share: share of the teacher's inputs that the decoder is shown; the rest it must know from the token.
        seed: of everything.
    """

    steps: int = 1000
    batch: int = 32
    learning_rate: float = 1e-3
    teacher_share: float = 0.5
    seed: int = 0


@torch.no_grad()
def embeddings_of(
    model: PI0ForConditionalGeneration, data: ChunkDataset, ids: Tensor, rng: np.random.Generator, count: int
) -> Tensor:
    """[count, M, D] frozen prefix embeddings of windows drawn from `data`."""
    batch = data.batch(rng, count)
    pixels = pixels_from_uint8(torch.from_numpy(batch.images))
    seen = torch.ones(pixels.shape[:2], dtype=torch.bool)
    chosen = ids[torch.from_numpy(batch.instruction)]
    prefix = encode_prefix(model, chosen, pixels, seen)
    words = ids.shape[1] - int((ids[0] == ids[0, 0]).sum())
    return prefix_embeddings(prefix.last.float(), ids.shape[1] - words)


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
    encoder, decoder = TokenEncoder(token_shape), TokenDecoder(token_shape)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps, 0.02 * config.learning_rate)
    ids = prompt_ids(tokenizer, data.instructions, shape, cameras=2)
    model.eval()
    for step in range(config.steps):
        rng = np.random.default_rng([config.seed, 1, step])
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = embeddings_of(model, data, ids, rng, config.batch)
            keep = torch.rand(embeddings.shape[:2], generator=generator) < config.teacher_share
            rebuilt = decoder(encoder(embeddings), embeddings, keep)
        loss = reconstruction_loss(rebuilt.float(), embeddings)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        report(step, float(loss.detach()))
    return encoder.eval()
