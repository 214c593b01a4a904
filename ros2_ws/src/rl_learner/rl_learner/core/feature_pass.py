# SPDX-License-Identifier: Apache-2.0
"""DatasetEpisode episodes through a frozen VLA: its features of every few frames, kept on disk as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from experience.core.dataset import Dataset, DatasetEpisode, DatasetError
from experience.core.lerobot.info import ACTION, STATE
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from rl_methods.base import FloatArray
from rl_methods.common.episode_features import EpisodeFeatures
from vla_policy.core.protocol import Backend, ObservationError

Report = Callable[[str], None]


class FeaturePass:
    """Features of datasets, in order; those that were computed before are read from the folder.

    Args:
        backend: The VLA.
        watcher: Of the robot, for that VLA.
        weights: Hash of the VLA's weights: features of others are not taken.
        stride: Frames between two that are looked at.
        folder: Where features are kept.
    """

    def __init__(self, backend: Backend, watcher: EpisodePreprocessor, weights: str, stride: int, folder: Path) -> None:
        self._backend, self._watcher, self._weights = backend, watcher, weights
        self._stride, self._folder = stride, folder

    def __call__(self, datasets: Sequence[Dataset], report: Report) -> list[EpisodeFeatures]:
        """Features of all episodes.

        Raises:
            DatasetError: A dataset does not fit robot or VLA; the text begins with its folder.
        """
        return [found for dataset in datasets for found in self._of(dataset, report)]

    def _of(self, dataset: Dataset, report: Report) -> list[EpisodeFeatures]:
        self._check(dataset)
        folder = self._folder / self._key(dataset)
        labels = list(dataset.labels())
        if any(_read(folder, episode) is None for episode in labels):
            folder.mkdir(parents=True, exist_ok=True)
            for number, recorded in enumerate(dataset, 1):
                if _read(folder, recorded) is None:
                    frames, features = self._looked_at(dataset, recorded)
                    _write(folder, recorded.index, frames, features)
                report(f"{dataset.root}: {number} of {len(dataset)} episodes through the policy")
        return list(self._kept(dataset, folder, labels))

    def _kept(self, dataset: Dataset, folder: Path, labels: Sequence[DatasetEpisode]) -> Iterator[EpisodeFeatures]:
        for episode in labels:
            if (found := _read(folder, episode)) is None:
                raise DatasetError(f"{dataset.root}: features of episode {episode.index} have gone from {folder}")
            yield EpisodeFeatures(dataset.root, replace(episode, images={}), *found)

    def _check(self, dataset: Dataset) -> None:
        try:
            self._watcher.check(dataset.fps, dataset.cameras)
            for column in (STATE, ACTION):
                self._watcher.check_names(column, dataset.joint_names(column))
            for episode in dataset.labels():
                self._watcher.check_numbers(episode, episode.index)
        except DatasetError as error:
            raise DatasetError(f"{dataset.root}: {error}") from error

    def _looked_at(self, dataset: Dataset, recorded: DatasetEpisode) -> tuple[np.ndarray, FloatArray]:
        frames = np.arange(0, len(recorded), self._stride)
        try:
            rows = [self._features(recorded, int(frame)) for frame in frames]
        except ObservationError as error:
            raise DatasetError(f"{dataset.root}: episode {recorded.index}: {error}") from error
        features = np.stack(rows)
        if not np.isfinite(features).all():
            frame = frames[np.argwhere(~np.isfinite(features))[0, 0]]
            raise DatasetError(f"{dataset.root}: episode {recorded.index}, frame {frame}: features are not finite")
        return frames, features

    def _features(self, recorded: DatasetEpisode, frame: int) -> FloatArray:
        return self._backend.features(self._backend.prefix(self._watcher.observation(recorded, frame)))

    def _key(self, dataset: Dataset) -> str:
        """Name that changes with the dataset, the weights and the stride."""
        info = (dataset.root / "meta" / "info.json").read_bytes()
        said = f"{dataset.root.resolve()} {self._weights} {self._stride} ".encode() + info
        return hashlib.sha256(said).hexdigest()[:16]


def _read(folder: Path, episode: DatasetEpisode) -> tuple[np.ndarray, FloatArray] | None:
    path = folder / f"{episode.index:06d}.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        frames, features = file["frames"], file["features"]
    return (frames, features) if len(frames) and frames[-1] < len(episode) else None


def _write(folder: Path, index: int, frames: np.ndarray, features: FloatArray) -> None:
    partial = folder / f"{index:06d}.partial.npz"
    np.savez(partial, frames=frames, features=features)
    partial.replace(folder / f"{index:06d}.npz")
