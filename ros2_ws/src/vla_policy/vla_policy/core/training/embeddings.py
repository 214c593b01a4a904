# SPDX-License-Identifier: Apache-2.0
"""Prefix embeddings of a frozen VLA: on disk in half precision, and what they are centred and scaled by.

A prefix of a PI0 looks almost the same at every moment: what an RL token has to know is where a frame differs from the
mean of all. Centring is exact in the encoder that is shipped, which takes embeddings as the model leaves them.

Legend: R rows (one observation each), B batch, M prefix embeddings, D their width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vla_policy.core.rl_token import TokenEncoder
from vla_policy.core.training.rows import HalfRows

READOUT_SHARE = 0.5  # of the reconstruction loss: two tokens know what matters, many know the table's colour
_LARGEST = 65504.0  # of half precision


@dataclass(frozen=True, eq=False)
class EmbeddingScale:
    """What embeddings are centred and scaled by.

    Attributes:
        mean: [M, D] of each embedding over the rows; zeros leave them.
        size: Root mean square of what is left, over everything.
        weight: [M] of each embedding's squared error in the loss: with those of a run, rebuilding the mean costs 1.
    """

    mean: Tensor
    size: float
    weight: Tensor

    @classmethod
    def plain(cls, count: int, width: int, readouts: int) -> EmbeddingScale:
        """Embeddings as they are; the readouts, the last of them, count as much as all image tokens together."""
        return cls(torch.zeros(count, width), 1.0, _weights(torch.ones(count), readouts))

    def on(self, device: torch.device) -> EmbeddingScale:
        """The same on a device."""
        return replace(self, mean=self.mean.to(device), weight=self.weight.to(device))

    def centred(self, embeddings: Tensor) -> Tensor:
        """[B, M, D] -> [B, M, D]."""
        return (embeddings - self.mean) / self.size

    @torch.no_grad()
    def folded_into(self, encoder: TokenEncoder) -> TokenEncoder:
        """An encoder of raw embeddings that does what the given one does with centred ones."""
        folded = copy.deepcopy(encoder)
        folded.project.weight /= self.size
        folded.position -= self.mean @ folded.project.weight.T
        return folded


@dataclass(frozen=True, eq=False)
class TokenData:
    """Rows, and which of them are learnt from.

    Attributes:
        rows: R of [M, D], on disk.
        scale: Of those that are learnt from.
        train: Numbers of those that are learnt from.
        held_out: Numbers of those that only the held-out loss is measured on; may be none.
    """

    rows: HalfRows
    scale: EmbeddingScale
    train: Tensor
    held_out: Tensor

    @classmethod
    def of(cls, rows: Iterable[tuple[Tensor, bool]], readouts: int = 0, folder: Path | None = None) -> TokenData:
        """Of embeddings [M, D] and whether they are put aside, as they come.

        Args:
            rows: One by one.
            readouts: How many of the last embeddings count as much as all before them.
            folder: Where the rows go; the temporary folder by default.

        Raises:
            ValueError: No row is left to learn from, or a number does not fit half precision.
            OSError: The disk is full.
        """
        kept, aside, sums = HalfRows(folder), list[bool](), _Sums()
        for embeddings, is_aside in rows:
            if not bool((embeddings.abs() < _LARGEST).all()):
                raise ValueError(f"embeddings of row {len(kept)} are not finite, or beyond {_LARGEST:g}")
            kept.append(embeddings)
            aside.append(is_aside)
            if not is_aside:
                sums.add(embeddings.cpu().double())
        held = torch.tensor(aside, dtype=torch.bool)
        if bool(held.all()):
            raise ValueError("no frame is left to learn from: all were put aside; hold out fewer episodes")
        return cls(kept, sums.scale(readouts), torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0])


class _Sums:
    """Mean and variance while the rows come; about the first row, so that large constants cost no precision."""

    def __init__(self) -> None:
        self._count, self._first = 0, torch.zeros(0)
        self._sum, self._squares = torch.zeros(0), torch.zeros(0)

    def add(self, row: Tensor) -> None:
        if self._count == 0:
            self._first, self._sum, self._squares = row, torch.zeros_like(row), torch.zeros_like(row)
        moved = row - self._first
        self._sum += moved
        self._squares += moved.square()
        self._count += 1

    def scale(self, readouts: int) -> EmbeddingScale:
        """Of all rows; embeddings that never change count as if they did a little, so that nothing is divided by 0."""
        mean = self._sum / self._count
        variance = (self._squares / self._count - mean.square()).clamp(min=0.0).mean(-1)  # [M]
        size = max(float(variance.mean()), 1e-12) ** 0.5
        weight = _weights(variance.float() / size**2, readouts)
        return EmbeddingScale((self._first + mean).float(), size, weight)


def _weights(variance: Tensor, readouts: int) -> Tensor:
    """[M] weights of squared errors, such that errors of that variance [M] cost 1 in all."""
    images = len(variance) - readouts
    shares = [(0, images, 1.0 - READOUT_SHARE if readouts else 1.0), (images, len(variance), READOUT_SHARE)]
    weight = torch.zeros(len(variance))
    for first, last, share in shares:
        if last > first:
            weight[first:last] = share / variance[first:last].sum().clamp(min=1e-6)
    return weight
