# SPDX-License-Identifier: Apache-2.0
"""What the batch jobs have in common: a robot's recordings, seen with the eyes of a policy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl_learner.core.dataset import Dataset, DatasetError, Recorded
from rl_learner.core.lerobot.info import ACTION, STATE
from rl_learner.core.lerobot.mapping import read_mapping
from rl_learner.core.watching import Watcher
from vla_policy.core.protocol import ObservationError, PolicySpec
from vla_policy.nodes.resources import find_robot
from whetstone_common.core.kinematics import Kinematics


def watcher_of(robot_file: str, spec: PolicySpec) -> Watcher:
    """A watcher of that robot's recordings; raises as `find_robot`, or ValueError where the robot has no limits."""
    robot = find_robot(robot_file)
    if robot.joint_range is None:
        raise ValueError(f"robot file {robot_file} has no limits: values of a dataset could not be checked")
    kinematics = Kinematics.from_urdf(robot.urdf, robot.tip, robot.joints.arm)
    return Watcher(spec, kinematics, robot.joints.names, joint_range=robot.joint_range)


def dataset_of(folder: Path, robot_file: str, mapping: Path | None = None) -> Dataset:
    """A dataset in a robot's names, order and units.

    Args:
        folder: Of the dataset.
        robot_file: Of the robot.
        mapping: File that says how the dataset records the robot's joints; None where it does as the robot.

    Raises:
        ValueError: Dataset or mapping cannot be used.
    """
    return Dataset(folder, None if mapping is None else read_mapping(mapping, find_robot(robot_file).joints))


def episodes_of(dataset: Dataset, watcher: Watcher) -> Iterator[Recorded]:
    """Episodes in order, one in memory at a time, after everything about them was checked.

    Raises:
        DatasetError: The dataset does not fit robot or policy; the text begins with its folder.
    """
    with _of(dataset):
        watcher.check(dataset.fps, dataset.cameras)
        for column in (STATE, ACTION):
            watcher.check_names(column, dataset.joint_names(column))
    for recorded in dataset:
        with _of(dataset):
            watcher.check_numbers(recorded, recorded.index)
        yield recorded
        del recorded  # before the next one is read


@contextmanager
def shown_to_policy(dataset: Dataset, recorded: Recorded) -> Iterator[None]:
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
