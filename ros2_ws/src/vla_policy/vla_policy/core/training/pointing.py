# SPDX-License-Identifier: Apache-2.0
"""Which image token shows the instructed object, and which the goal, and where in it: the quickest lesson in finding.

Regressing a position asks a readout token to find the right patch and to measure at once; told where to look, it
learns from thousands of layouts instead of hundreds of thousands of frames. A token is 6 cm of the table wide: what
is finer than that has to be in the token itself, so each is taught the offset too. Only used in training.

Legend: B frames, K cameras, L tokens of an image (G x G), D width of the VLM, R readouts (object, goal).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vla_policy.core.tokenizer import READOUTS


@dataclass(frozen=True)
class NominalCamera:
    """Where a camera stands and looks; its mounting may be a little off.

    Attributes:
        position_m: (3,) of the lens, in the base frame or, for one on the hand, in the TCP's.
        target_m: (3,) that is seen in the middle.
        field_rad: vertical field of view.
        up: (3,) what is upwards in the image.
    """

    position_m: tuple[float, float, float]
    target_m: tuple[float, float, float]
    field_rad: float
    up: tuple[float, float, float]

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points [..., 3] m in the camera's own frame -> image [..., 2] (column, row), 0 to 1 from the top left."""
        eye, target = np.asarray(self.position_m), np.asarray(self.target_m)
        back = (eye - target) / np.linalg.norm(eye - target)
        right = np.cross(self.up, back)
        right /= np.linalg.norm(right)
        seen = (points - eye) @ np.stack([right, np.cross(back, right), back], axis=1)
        scale = 0.5 / math.tan(self.field_rad / 2.0) / np.maximum(1e-3, -seen[..., 2])
        return np.stack([0.5 + seen[..., 0] * scale, 0.5 - seen[..., 1] * scale], axis=-1)


FRONT = NominalCamera((1.05, 0.0, 0.62), (0.47, 0.0, 0.06), math.radians(34.0), (0.0, 0.0, 1.0))
WRIST = NominalCamera((0.0, 0.0845, -0.1305), (0.0, 0.0385, 0.0), math.radians(68.0), (0.0, 1.0, 0.0))


def places(points: NDArray[np.floating], tcp: NDArray[np.floating], turn: NDArray[np.floating]) -> NDArray[np.float32]:
    """Where base-frame points are in both images, [T, K, R, 2], 0 to 1 inside.

    Args:
        points: [T, R, 3] m.
        tcp: [T, 3] m.
        turn: [T, 3, 3] rotation of the TCP.
    """
    held = np.einsum("tji,trj->tri", turn, points - tcp[:, None])
    return np.stack([FRONT.project(points), WRIST.project(held)], axis=1).astype(np.float32)


def _cells(where: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Distances of places [..., 2] from each column's and each row's middle, in tokens, [..., G] each."""
    place, centres = where * grid - 0.5, torch.arange(grid, dtype=where.dtype)
    return place[..., 0, None] - centres, place[..., 1, None] - centres


def cell_targets(where: Tensor, grid: int) -> Tensor:
    """Image places [..., 2] in 0 to 1 -> shares [..., G * G] of the four nearest tokens; zero outside the image."""
    column, row = ((1.0 - distance.abs()).clamp(min=0.0) for distance in _cells(where, grid))
    return (row[..., :, None] * column[..., None, :]).flatten(-2)


def offset_targets(where: Tensor, grid: int) -> Tensor:
    """Image places [..., 2] -> how far they are from each token's middle, in tokens, [..., G * G, 2]."""
    column, row = _cells(where, grid)
    pair = torch.stack(torch.broadcast_tensors(column[..., None, :], row[..., :, None]), dim=-1)
    return pair.flatten(-3, -2)


class PointingHead(nn.Module):
    """Scores of each image's tokens for each readout, and where in a token its thing is."""

    def __init__(self, width: int, grid: int, cameras: int = 2) -> None:
        """One key projection for all, one query projection per camera and readout."""
        super().__init__()
        self.grid, self.cameras = grid, cameras
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width)
        self.queries = nn.ModuleList(nn.Linear(width, cameras * width) for _ in READOUTS)
        self.offset = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2 * len(READOUTS)))

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S, D] of one layer -> log shares [B, K, R, L] and offsets [B, K, R, L, 2]."""
        normed = self.norm(hidden.float())
        images = normed[:, : self.cameras * self.grid * self.grid].unflatten(1, (self.cameras, -1))  # they come first
        keys, tokens = self.key(images), normed[:, -len(READOUTS) :]
        queries = torch.stack([query(tokens[:, i]) for i, query in enumerate(self.queries)], dim=1)
        queries = queries.unflatten(-1, (self.cameras, -1)).transpose(1, 2)  # [B, K, R, D]
        scores = (queries @ keys.transpose(2, 3)).float() / math.sqrt(keys.shape[-1])
        offsets = self.offset(images).float().unflatten(-1, (len(READOUTS), 2)).transpose(2, 3)
        return torch.log_softmax(scores, dim=-1), offsets

    def losses(self, hidden: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the shares and error of the offsets; what is out of sight counts for nothing.

        Args:
            hidden: [B, S, D] of one layer.
            where: [B, K, R, 2] as `places` gives it.
        """
        log_shares, offsets = self(hidden)
        shares = cell_targets(where, self.grid)
        error = F.smooth_l1_loss(offsets, offset_targets(where, self.grid), reduction="none", beta=0.1).sum(-1)
        return -(shares * log_shares).sum(-1).mean(), (shares * error).sum(-1).mean()
