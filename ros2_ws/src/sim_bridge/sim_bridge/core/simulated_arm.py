# SPDX-License-Identifier: Apache-2.0
"""The arm of a simulated scene: where it starts, what its controller is told, what it measures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.arm import ArmModel
from sim_bridge.core.scene_index import SceneIndex
from whetstone_common.core.kinematics import Pose

Array = npt.NDArray[np.float64]

START_NOISE_RAD = 0.05  # largest initial distance of each joint from home


class SimulatedArm:
    """Reads and writes the arm's part of the simulation state.

    Args:
        arm: The arm that is simulated.
        data: State of the simulation.
        index: Places of the arm in it.
    """

    def __init__(self, arm: ArmModel, data: Any, index: SceneIndex) -> None:
        self._model, self._data, self._index = arm, data, index

    @property
    def joint_lower(self) -> Array:
        """Lower limits (7,) rad."""
        return self._index.joint_range[:, 0]

    @property
    def joint_upper(self) -> Array:
        """Upper limits (7,) rad."""
        return self._index.joint_range[:, 1]

    def place(self, rng: np.random.Generator) -> None:
        """Put it near home, with the gripper open; the controller holds it there."""
        home = np.asarray(self._model.home_rad)
        start = home + rng.uniform(-START_NOISE_RAD, START_NOISE_RAD, len(home))
        self._data.qpos[self._index.positions] = start
        self._data.ctrl[self._index.actuators] = start
        self._data.ctrl[self._index.gripper_actuator] = 0.0

    def control(self, joint_targets: npt.ArrayLike, gripper_opening: float) -> Array:
        """Control vector of a command, joint targets clipped to the limits.

        Args:
            joint_targets: (7,) rad.
            gripper_opening: 1 open, 0 closed.

        Raises:
            ValueError: A size is wrong or a number is not finite.
        """
        joints = np.asarray(joint_targets, dtype=np.float64)
        if joints.shape != self._index.actuators.shape:
            raise ValueError(f"expected {len(self._index.actuators)} joint targets, got shape {joints.shape}")
        if not (np.isfinite(joints).all() and math.isfinite(gripper_opening)):
            raise ValueError("the command is not finite")
        control: Array = self._data.ctrl.copy()
        control[self._index.actuators] = np.clip(joints, self.joint_lower, self.joint_upper)
        closed = 1.0 - min(1.0, max(0.0, gripper_opening))
        control[self._index.gripper_actuator] = self._model.gripper_ctrl_closed * closed
        return control

    def command(self) -> tuple[Array, float]:
        """Joint targets (7,) rad and gripper opening of the controller."""
        closed = float(self._data.ctrl[self._index.gripper_actuator]) / self._model.gripper_ctrl_closed
        return np.array(self._data.ctrl[self._index.actuators]), 1.0 - closed

    def joint_positions(self) -> Array:
        """Measured positions (7,) rad."""
        return np.array(self._data.qpos[self._index.positions])

    def joint_velocities(self) -> Array:
        """Measured velocities (7,) rad/s."""
        return np.array(self._data.qvel[self._index.velocities])

    def gripper_opening(self) -> float:
        """1 fully open, 0 fully closed."""
        closed = float(self._data.qpos[self._index.gripper_position]) / self._model.gripper_joint_closed_rad
        return min(1.0, max(0.0, 1.0 - closed))

    def tcp_pose(self) -> Pose:
        """Measured TCP pose in the base frame."""
        tcp = self._index.tcp
        return Pose(self._data.site_xpos[tcp].copy(), self._data.site_xmat[tcp].reshape(3, 3).copy())
