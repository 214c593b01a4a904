# SPDX-License-Identifier: Apache-2.0
"""Which image token shows the instructed object, and which the goal: the quickest lesson in finding things.

Regressing a position asks a readout token to find the right patch and to measure at once; told where to look, it
learns from thousands of layouts instead of hundreds of thousands of frames. Only used in training.

Legend: B frames, L tokens of the front image (G x G), D width of the VLM, R readouts (object, goal).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vla_policy.core.tokenizer import READOUTS


@dataclass(frozen=True)
class NominalCamera:
    """Where the front camera stands and looks, in the base frame; its mounting may be off by a centimetre.

    Attributes:
        position_m: (3,) of the lens.
        target_m: (3,) that is seen in the middle.
        field_rad: vertical field of view.
    """

    position_m: tuple[float, float, float] = (1.05, 0.0, 0.62)
    target_m: tuple[float, float, float] = (0.47, 0.0, 0.06)
    field_rad: float = math.radians(34.0)

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Base-frame points [..., 3] m -> image [..., 2] (column, row), 0 to 1 from the top left."""
        eye, target = np.asarray(self.position_m), np.asarray(self.target_m)
        back = (eye - target) / np.linalg.norm(eye - target)
        right = np.cross((0.0, 0.0, 1.0), back)
        right /= np.linalg.norm(right)
        seen = (points - eye) @ np.stack([right, np.cross(back, right), back], axis=1)
        scale = 0.5 / math.tan(self.field_rad / 2.0) / np.maximum(1e-3, -seen[..., 2])
        return np.stack([0.5 + seen[..., 0] * scale, 0.5 - seen[..., 1] * scale], axis=-1)


def cell_targets(where: Tensor, grid: int) -> Tensor:
    """Image places [B, R, 2] in 0 to 1 -> shares [B, R, G * G] of the four nearest tokens; zero outside the image."""
    place = where * grid - 0.5
    centres = torch.arange(grid, dtype=where.dtype)
    column, row = ((1.0 - (place[..., i, None] - centres).abs()).clamp(min=0.0) for i in (0, 1))  # [B, R, G]
    return (row[..., :, None] * column[..., None, :]).flatten(-2)


class PointingHead(nn.Module):
    """Scores of the front image's tokens for each readout."""

    def __init__(self, width: int, grid: int) -> None:
        """One key projection for all, one query projection per readout."""
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width)
        self.queries = nn.ModuleList(nn.Linear(width, width) for _ in READOUTS)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] of one layer -> log shares [B, R, L]."""
        normed = self.norm(hidden.float())
        keys = self.key(normed[:, : self.grid * self.grid])  # the front image comes first
        tokens = normed[:, -len(READOUTS) :]
        queries = torch.stack([query(tokens[:, i]) for i, query in enumerate(self.queries)], dim=1)
        return torch.log_softmax((queries @ keys.transpose(1, 2)).float() / math.sqrt(keys.shape[-1]), dim=-1)
