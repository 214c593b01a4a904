# SPDX-License-Identifier: Apache-2.0
"""What a recorded episode says of itself, and what post-training picks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class EpisodeLabels(Protocol):
    """What a recorded episode says of itself, without images; `experience.core.dataset.DatasetEpisode` is one.

    Legend: T frames.
    """

    @property
    def instruction(self) -> str:
        """Words of the task."""
        ...

    @property
    def success(self) -> bool:
        """How it ended."""
        ...

    @property
    def actors(self) -> NDArray[np.uint8]:
        """[T] who commanded each step, `whetstone_common.core.enums.Actor`."""
        ...

    @property
    def states(self) -> NDArray[np.float64]:
        """[T, J + 1] measured joints (rad), then the gripper's opening."""
        ...

    @property
    def index(self) -> int:
        """Number of the episode in its dataset."""
        ...

    def __len__(self) -> int:
        """T."""
        ...


@dataclass(frozen=True)
class Sample:
    """A moment of a recorded episode that the VLA shall imitate: what was executed from there on is its label.

    Attributes:
        frame: Of the episode.
        weight: How much it counts beside the others, above 0.
        instruction: Words that the VLA is shown instead of the episode's; empty for those.
    """

    frame: int
    weight: float = 1.0
    instruction: str = ""
