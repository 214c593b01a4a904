# SPDX-License-Identifier: Apache-2.0
"""Absolute commands become relative to the window's own reference."""

from __future__ import annotations

import numpy as np
import pytest

from experience.core.actions import cartesian_actions, joint_actions, rotation_vectors
from whetstone_common.core.kinematics import rotation_matrix, rotation_vector

RNG = np.random.default_rng(3)


def quaternions(count: int) -> np.ndarray:
    drawn = RNG.normal(size=(count, 4))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def matrix(quaternion: np.ndarray) -> np.ndarray:
    return rotation_matrix(rotation_vectors(quaternion[None])[0])


def test_when_poses_are_random_expect_what_the_kinematics_say() -> None:
    targets = np.concatenate([RNG.normal(size=(50, 3)), quaternions(50)], axis=1)
    reference = np.concatenate([RNG.normal(size=3), quaternions(1)[0]])
    actions = cartesian_actions(reference, targets, np.linspace(0, 1, 50))
    for action, target in zip(actions, targets, strict=True):
        assert action[:3] == pytest.approx(target[:3] - reference[:3])
        turned = rotation_matrix(action[3:6]) @ matrix(reference[3:])
        assert turned == pytest.approx(matrix(target[3:]), abs=1e-9)
        assert action[3:6] == pytest.approx(rotation_vector(matrix(target[3:]) @ matrix(reference[3:]).T), abs=1e-6)
    assert actions[:, 6].tolist() == np.linspace(0, 1, 50).tolist()


def test_when_the_quaternion_is_minus_itself_expect_the_same_action() -> None:
    target = np.concatenate([np.zeros(3), quaternions(1)[0]])[None]
    reference = np.array([0.0, 0, 0, 0, 0, 0, 1])
    other = target * np.array([1, 1, 1, -1, -1, -1, -1])
    opening = np.zeros(1)
    assert cartesian_actions(reference, target, opening) == pytest.approx(cartesian_actions(reference, other, opening))


def test_when_nothing_turned_expect_zero_and_no_warning() -> None:
    with np.errstate(all="raise"):
        assert rotation_vectors(np.array([[0.0, 0.0, 0.0, 1.0]])).tolist() == [[0.0, 0.0, 0.0]]


def test_when_joints_are_commanded_expect_the_difference_to_the_reference_and_the_opening() -> None:
    actions = joint_actions(np.array([0.1, 0.2]), np.array([[0.3, 0.2, 1.0], [0.1, 0.5, 0.0]]))
    assert actions == pytest.approx(np.array([[0.2, 0.0, 1.0], [0.0, 0.3, 0.0]]))
