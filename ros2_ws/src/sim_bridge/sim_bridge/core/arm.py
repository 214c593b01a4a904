# SPDX-License-Identifier: Apache-2.0
"""Simulation parameters of the supported arms."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ArmModel:
    """An arm with a gripper, described by names in its MJCF.

    Attributes:
        package: Python package that contains the model.
        model_path: MJCF file inside that package.
        prefix: Put before every name of the model when it is attached to a scene.
        joints: Arm joints, base first, without prefix.
        gripper_joint: Joint that measures the gripper, without prefix.
        gripper_actuator: Actuator that closes the gripper, without prefix.
        gripper_ctrl_closed: Control value of a fully closed gripper (0 is fully open).
        gripper_joint_closed_rad: Gripper joint position when fully closed (0 is fully open).
        ros_gripper_joint: Name of the gripper in joint states; its position is the opening, 1 open, 0 closed.
        home_rad: Joint positions around which an episode starts.
        stiffness: Position gain of the arm's actuators (N m / rad).
        damping: Velocity gain of the arm's actuators (N m s / rad).
    """

    package: str
    model_path: str
    prefix: str
    joints: tuple[str, ...]
    gripper_joint: str
    gripper_actuator: str
    gripper_ctrl_closed: float
    gripper_joint_closed_rad: float
    ros_gripper_joint: str
    home_rad: tuple[float, ...]
    stiffness: float
    damping: float

    @property
    def ros_joints(self) -> tuple[str, ...]:
        """Arm joint names as they appear in joint states."""
        return tuple(self.prefix + name for name in self.joints)

    def locate(self) -> Path:
        """Path of the MJCF file.

        Raises:
            FileNotFoundError: If the package that contains the model is not installed.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"the arm's model is in the Python package {self.package!r}: install it")
        return Path(spec.submodule_search_locations[0]) / self.model_path


PANDA = ArmModel(
    package="tabletask",
    model_path="mujoco/robots/assets/droid/model.xml",
    prefix="panda_",
    joints=tuple(f"joint{i}" for i in range(1, 8)),
    gripper_joint="right_driver_joint",
    gripper_actuator="fingers_actuator",
    gripper_ctrl_closed=255.0,
    gripper_joint_closed_rad=0.824033,
    ros_gripper_joint="panda_gripper",
    home_rad=(0.0, -0.2608, 0.0, -2.4298, 0.0, 2.1690, 0.0008),  # TCP at (0.45, 0, 0.25) m, pointing down
    # The model ships 400 / 80, a lag of 0.2 s. A position-controlled arm behind ros2_control follows closer.
    stiffness=1000.0,
    damping=100.0,
)
