# SPDX-License-Identifier: Apache-2.0
"""What a trainer of VLAs can do besides fitting: look at datasets through a model, and make directories of others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from experience.core.dataset import Dataset, DatasetEpisode
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from rl_learner.core.feature_pass import FeaturePass
from rl_learner.core.value_files import plain_backend
from rl_methods.base import Report
from rl_methods.common.episode_features import EpisodeFeatures
from vla_policy.core.protocol import PolicySpec
from vla_policy.core.serving import weights_sha256
from vla_policy.core.training import directories


class RobotRecordings(Protocol):
    """What a robot's recordings are read with."""

    @property
    def dataset(self) -> Callable[[Path], Dataset]:
        """Opens a dataset in the robot's names, order and units."""
        ...

    @property
    def watcher(self) -> Callable[[PolicySpec], EpisodePreprocessor]:
        """Sees its recordings with the eyes of a policy."""
        ...


class ModelWorkshop:
    """The part of `rl_methods.base.VlaTrainer` that trains nothing.

    Attributes:
        robot: Whose recordings they are.
    """

    robot: RobotRecordings

    def labels(self, datasets: Sequence[Path]) -> list[tuple[Path, DatasetEpisode]]:
        """See `VlaTrainer.labels`."""
        return [(folder, episode) for folder in datasets for episode in self.robot.dataset(folder).labels()]

    def features(
        self, model: Path, datasets: Sequence[Path], stride: int, folder: Path, report: Report
    ) -> list[EpisodeFeatures]:
        """See `VlaTrainer.features`."""
        backend = plain_backend(model)
        look = FeaturePass(backend, self.robot.watcher(backend.spec), weights_sha256(model), stride, folder)
        return look([self.robot.dataset(path) for path in datasets], report)

    def check_pretrained(self, model: Path) -> None:
        """See `VlaTrainer.check_pretrained`."""
        directories.check_pretrained(model)

    def with_words(self, model: Path, words: Sequence[str], endings: tuple[str, str], out: Path) -> Path:
        """See `VlaTrainer.with_words`; one that an interrupted call has left behind is made anew."""
        shutil.rmtree(out, ignore_errors=True)
        return directories.add_words(model, out, words, endings)

    def sealed_with(
        self, model: Path, out: Path, tensors: Mapping[str, Mapping[str, Tensor]], entries: Mapping[str, Any]
    ) -> Path:
        """See `VlaTrainer.sealed_with`."""
        return directories.sealed_with(model, out, tensors, entries)
