# SPDX-License-Identifier: Apache-2.0
"""The RL token: one small vector that a prefix's embeddings can be rebuilt from.

A learned query is appended to the frozen prefix embeddings; what a small transformer makes of it is z. A second
one rebuilds the embeddings from z, each given those before it. Only the encoder is shipped.

Legend: B batch, M prefix embeddings (image tokens, then the readouts; words left out), D their width, Z size of z.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TokenShape:
    """Sizes of the encoder and decoder."""

    embedding_dim: int = 192
    count: int = 130
    width: int = 128
    heads: int = 4
    layers: int = 2
    token_dim: int = 64


def prefix_embeddings(last: Tensor, image_tokens: int, readouts: int) -> Tensor:
    """[B, S, D] final embeddings -> [B, M, D] without the words; the readouts are the last of the prompt."""
    return torch.cat([last[:, :image_tokens], _last(last, readouts)], dim=1)


def _last(x: Tensor, count: int) -> Tensor:
    return x[:, -count:] if count else x[:, :0]


def _stack(shape: TokenShape) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        shape.width, shape.heads, 2 * shape.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, shape.layers, enable_nested_tensor=False)


class TokenEncoder(nn.Module):
    """[B, M, D] -> z [B, Z], normed so that small networks can take it as it is."""

    def __init__(self, shape: TokenShape) -> None:
        """Builds it for `shape`."""
        super().__init__()
        self.shape = shape
        self.project = nn.Linear(shape.embedding_dim, shape.width)
        self.query = nn.Parameter(torch.randn(1, 1, shape.width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, shape.count, shape.width) * 0.02)
        self.stack = _stack(shape)
        self.out = nn.Linear(shape.width, shape.token_dim)
        self.norm = nn.LayerNorm(shape.token_dim, elementwise_affine=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Compresses."""
        tokens = self.project(embeddings) + self.position
        tokens = torch.cat([tokens, self.query.expand(tokens.shape[0], -1, -1)], dim=1)
        return cast(Tensor, self.norm(self.out(self.stack(tokens)[:, -1])))


class TokenDecoder(nn.Module):
    """Rebuilds embedding i from z and the embeddings before it (teacher forcing)."""

    def __init__(self, shape: TokenShape) -> None:
        """Builds it for `shape`."""
        super().__init__()
        self.start = nn.Linear(shape.token_dim, shape.width)
        self.project = nn.Linear(shape.embedding_dim, shape.width)
        self.position = nn.Parameter(torch.randn(1, shape.count, shape.width) * 0.02)
        self.stack = _stack(shape)
        self.out = nn.Linear(shape.width, shape.embedding_dim)

    def forward(self, token: Tensor, embeddings: Tensor, keep: Tensor) -> Tensor:
        """Z [B, Z], embeddings [B, M, D], keep bool [B, M] (teacher's inputs that are shown) -> [B, M, D]."""
        start = self.start(token)[:, None]
        shown = self.project(embeddings[:, :-1]) * keep[:, :-1, None]
        tokens = torch.cat([start, shown], dim=1) + self.position + start
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], device=tokens.device)
        return cast(Tensor, self.out(self.stack(tokens, mask=mask, is_causal=True)))


@dataclass(frozen=True)
class TokenFeaturizer:
    """`Featurizer`: RL token of the prefix, then the readouts of a pocket VLA: what it knows of object and goal.

    Attributes:
        encoder: Trained.
        image_tokens: Of all cameras; they are the first of the prompt.
        readouts: Tokens at its end that are features as they are.
    """

    encoder: TokenEncoder
    image_tokens: int
    readouts: int = 0

    @property
    def dim(self) -> int:
        """Length of the token and the readouts."""
        shape = self.encoder.shape
        return shape.token_dim + self.readouts * shape.embedding_dim

    def on(self, device: torch.device) -> TokenFeaturizer:
        """See `Featurizer.on`."""
        return replace(self, encoder=self.encoder.to(device))

    def __call__(self, last: Tensor, seen: Tensor | None = None) -> Tensor:
        """[B, S, D] -> [B, dim]; only words are ever padding."""
        token: Tensor = self.encoder(prefix_embeddings(last.float(), self.image_tokens, self.readouts))
        return torch.cat([token, _last(last, self.readouts).float().flatten(1)], dim=1)
