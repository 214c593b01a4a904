# SPDX-License-Identifier: Apache-2.0
"""Episodes of a dataset, checked against robot and policy, one in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from experience.core.dataset import Dataset, DatasetEpisode, DatasetError
from experience.core.lerobot.info import ACTION, STATE
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from vla_policy.core.protocol import ObservationError


def episodes_of(dataset: Dataset, watcher: EpisodePreprocessor) -> Iterator[DatasetEpisode]:
    """Episodes in order, one in memory at a time, after everything about them was checked.

    Raises:
        DatasetError: The dataset does not fit robot or policy; the text begins with its folder.
    """
    check_dataset(dataset, watcher)
    for recorded in dataset:
        with _of(dataset):
            watcher.check_numbers(recorded, recorded.index)
        yield recorded
        del recorded  # before the next one is read


def check_dataset(dataset: Dataset, watcher: EpisodePreprocessor) -> None:
    """Refuse a dataset of another arm, rate or view before an episode of it is read.

    Raises:
        DatasetError: The text begins with its folder.
    """
    with _of(dataset):
        watcher.check(dataset.fps, dataset.cameras)
        for column in (STATE, ACTION):
            watcher.check_names(column, dataset.joint_names(column))


@contextmanager
def shown_to_policy(dataset: Dataset, recorded: DatasetEpisode) -> Iterator[None]:
    """Name dataset and episode when the policy cannot look at it.

    Raises:
        DatasetError: Instead of the policy's ObservationError.
    """
    try:
        yield
    except ObservationError as error:
        raise DatasetError(f"{dataset.root}: episode {recorded.index}: {error}") from error


@contextmanager
def _of(dataset: Dataset) -> Iterator[None]:
    try:
        yield
    except DatasetError as error:
        raise DatasetError(f"{dataset.root}: {error}") from error
