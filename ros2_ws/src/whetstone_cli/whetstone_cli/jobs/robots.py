# SPDX-License-Identifier: Apache-2.0
"""What the batch jobs have in common: a robot's recordings, seen with the eyes of a policy."""

from __future__ import annotations

from pathlib import Path

from experience.core.dataset import Dataset
from experience.core.lerobot.mapping import read_mapping
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from rl_learner.core.recorded import episodes_of, shown_to_policy
from vla_policy.core.protocol import PolicySpec
from vla_policy.core.published.detect import crop_of
from whetstone_common.nodes.robot_files import find_kinematics, find_robot

__all__ = ["dataset_of", "episodes_of", "shown_to_policy", "watcher_of"]


def watcher_of(robot_file: str, spec: PolicySpec, model: Path) -> EpisodePreprocessor:
    """A watcher of that robot's recordings, who fits images as the model is served; raises as `find_robot`."""
    robot = find_robot(robot_file)
    return EpisodePreprocessor(spec, find_kinematics(robot), robot.contract_joints, crop_of(model), robot.joint_range)


def dataset_of(folder: Path, robot_file: str, mapping: Path | None = None) -> Dataset:
    """A dataset in a robot's names, order and units.

    Args:
        folder: Of the dataset.
        robot_file: Of the robot.
        mapping: File that says how the dataset records the robot's joints; None where it does as the robot.

    Raises:
        ValueError: Dataset or mapping cannot be used.
    """
    return Dataset(folder, None if mapping is None else read_mapping(mapping, find_robot(robot_file).joint_layout))
