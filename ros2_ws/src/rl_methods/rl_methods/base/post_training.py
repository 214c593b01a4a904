# SPDX-License-Identifier: Apache-2.0
"""Methods that train the VLA itself, and the trainer that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from rl_methods.base.episodes import EpisodeLabels, Sample

if TYPE_CHECKING:
    from torch import Tensor

    from rl_methods.common.episode_features import EpisodeFeatures


Select = Callable[[Path, EpisodeLabels], Sequence[Sample]]
Report = Callable[[str], None]


class VlaTrainer(Protocol):
    """The trainer that all post-training shares: reads datasets, shows them to the VLA, fits, writes a model directory.

    It is handed in, since methods know neither VLAs nor datasets; `rl_learner.core.post_training` has it.
    """

    def fit(self, model: Path, datasets: Sequence[Path], out: Path, select: Select, report: Report) -> Path:
        """Fit a VLA to what `select` picks of each episode of each dataset (its folder is the first argument).

        Returns:
            `out`, sealed.

        Raises:
            ValueError: A dataset or the model cannot be used, or nothing was picked; the text says which and why.
        """
        ...

    def labels(self, datasets: Sequence[Path]) -> Sequence[tuple[Path, EpisodeLabels]]:
        """What every episode of every dataset says of itself; no video is read.

        Raises:
            ValueError: A dataset cannot be used; the text says which and why.
        """
        ...

    def features(
        self, model: Path, datasets: Sequence[Path], stride: int, folder: Path, report: Report
    ) -> Sequence[EpisodeFeatures]:
        """A VLA's features of every few frames of every episode; those that are in `folder` already are read.

        Raises:
            ValueError: A dataset or the model cannot be used; the text says which and why.
        """
        ...

    def check_pretrained(self, model: Path) -> None:
        """Raise ValueError for a model that was trained with an indicator already."""
        ...

    def with_words(self, model: Path, words: Sequence[str], endings: tuple[str, str], out: Path) -> Path:
        """A model directory like another whose VLA knows some words; the same one when it does already.

        Args:
            model: Model directory.
            words: To be known.
            endings: Words behind an instruction that the VLA's actions shall depend on from the start.
            out: Model directory to make.

        Raises:
            ValueError: The model cannot be used.
        """
        ...

    def sealed_with(
        self, model: Path, out: Path, tensors: Mapping[str, Mapping[str, Tensor]], entries: Mapping[str, Any]
    ) -> Path:
        """A model directory like another, with more files of tensors and more entries in its manifest."""
        ...


class PostTraining(ABC):
    """A method that trains the VLA itself, offline or between rounds of data collection.

    Attributes:
        settings_type: Frozen dataclass of the method's settings.
        settings: Of this one.
    """

    settings_type: ClassVar[type[Any]]

    def __init__(self, settings: Any = None) -> None:
        self.settings = self.settings_type() if settings is None else settings

    @abstractmethod
    def select(self, dataset: Path, episode: EpisodeLabels) -> Sequence[Sample]:
        """Which moments of an episode are imitated, how much each counts, and under which words."""

    def train(self, trainer: VlaTrainer, model: Path, datasets: Sequence[Path], out: Path, report: Report) -> Path:
        """Train from a model directory on datasets; a method with more than one stage overrides this.

        Args:
            trainer: That all methods share.
            model: Model directory to begin with.
            datasets: LeRobotDataset directories.
            out: Model directory to make.
            report: Takes a line for the person who waits.

        Returns:
            The sealed model directory.

        Raises:
            ValueError: A dataset or the model cannot be used; the text says which and why.
        """
        return trainer.fit(model, datasets, out, self.select, report)
