# SPDX-License-Identifier: Apache-2.0
"""Places of the elements of a compiled scene in MuJoCo's arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.arm import ArmModel


@dataclass(frozen=True, eq=False)
class SceneIndex:
    """Indices of one model. Legend: n arm joints.

    Attributes:
        positions: [n] of the arm joints in `qpos`.
        velocities: [n] of the arm joints in `qvel`.
        actuators: [n] of the arm joints in `ctrl`.
        joint_range: float64 [n, 2] limits of the arm joints (rad).
        gripper_position: Of the gripper joint in `qpos`.
        gripper_actuator: Of the gripper in `ctrl`.
        tcp: Site of the TCP.
        bodies: Id of each task body.
        pads: Ids of the finger pads.
        is_robot: bool [bodies] whether a body belongs to the robot.
    """

    positions: npt.NDArray[np.int64]
    velocities: npt.NDArray[np.int64]
    actuators: npt.NDArray[np.int64]
    joint_range: npt.NDArray[np.float64]
    gripper_position: int
    gripper_actuator: int
    tcp: int
    bodies: Mapping[str, int]
    pads: tuple[int, ...]
    is_robot: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, model: Any, arm: ArmModel, bodies: Iterable[str]) -> SceneIndex:
        """Look the elements up by name.

        Args:
            model: Compiled model.
            arm: Arm in the scene.
            bodies: Names of the task bodies.
        """
        joints = [model.joint(name) for name in arm.ros_joints]
        return cls(
            positions=np.array([joint.qposadr[0] for joint in joints]),
            velocities=np.array([joint.dofadr[0] for joint in joints]),
            actuators=np.array([model.actuator(name).id for name in arm.ros_joints]),
            joint_range=model.jnt_range[[joint.id for joint in joints]].copy(),
            gripper_position=int(model.joint(arm.prefix + arm.gripper_joint).qposadr[0]),
            gripper_actuator=model.actuator(arm.prefix + arm.gripper_actuator).id,
            tcp=model.site(arm.prefix + "tcp").id,
            bodies={name: model.body(name).id for name in bodies},
            pads=tuple(model.body(f"{arm.prefix}{side}_pad").id for side in ("left", "right")),
            is_robot=np.arange(model.nbody) >= model.body(arm.prefix + "link0").id,
        )
