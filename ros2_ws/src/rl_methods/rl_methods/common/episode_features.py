# SPDX-License-Identifier: Apache-2.0
"""What a VLA makes of the frames of a recorded episode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl_methods.base import EpisodeLabels, FloatArray


@dataclass(frozen=True, eq=False)
class EpisodeFeatures:
    """Features of some frames of an episode.

    Legend: n frames that were looked at, F features.

    Attributes:
        dataset: Folder of the dataset.
        labels: What the episode says of itself.
        frames: int64 [n] numbers of the frames, rising.
        features: float32 [n, F].
    """

    dataset: Path
    labels: EpisodeLabels
    frames: NDArray[np.int64]
    features: FloatArray

    @property
    def key(self) -> tuple[Path, int]:
        """What tells it from every other."""
        return (self.dataset, self.labels.index)

    def along(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """[T] values [n] of the frames that were looked at, with straight lines between them."""
        return np.interp(np.arange(len(self.labels)), self.frames, values)
