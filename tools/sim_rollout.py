# SPDX-License-Identifier: Apache-2.0
"""What the in-process collector and evaluator share: a world, an expert and Cartesian commands, without ROS."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
for package in ("whetstone_common", "vla_policy", "sim_bridge", "robot_bringup"):
    sys.path.insert(0, str(ROOT / "ros2_ws" / "src" / package))

from sim_bridge.core.arm import PANDA  # noqa: E402
from sim_bridge.core.expert import Expert  # noqa: E402
from sim_bridge.core.tasks import get_task  # noqa: E402
from sim_bridge.core.world import World  # noqa: E402
from vla_policy.core.training.dataset import cartesian_proprio  # noqa: E402
from whetstone_common.core.kinematics import Kinematics, Pose, rotation_matrix  # noqa: E402

TASKS = ("pick_place", "stack", "insert")
URDF = ROOT / "ros2_ws" / "src" / "robot_bringup" / "description" / "panda.urdf"
POLICY_TIMEOUT_TICKS = 160


class Cell:
    """One task's world with the arm's kinematics and an expert.

    Args:
        task: Name of the task.
        image_size_px: Width and height of the images.
    """

    def __init__(self, task: str, image_size_px: int = 96) -> None:
        self.world = World(task, image_size=image_size_px)
        joints = [f"panda_joint{i}" for i in range(1, 8)]
        self.kinematics = Kinematics.from_urdf(URDF.read_text(encoding="utf-8"), "tcp", joints)
        self.home = np.asarray(PANDA.home_rad, dtype=np.float64)
        self.expert = Expert(get_task(task), self.kinematics, self.home)
        self._joints: npt.NDArray[np.float64] | None = None

    def reset(self, seed: int) -> None:
        """Starts the episode of `seed`."""
        self.world.reset(seed)
        self.expert.reset()
        self._joints = None

    def proprio(self) -> npt.NDArray[np.float32]:
        """[10], as observation_node makes it."""
        pose = self.world.tcp_pose()
        return cartesian_proprio(pose.position, pose.rotation, self.world.gripper_opening())

    def images(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Both cameras; the arrays are the caller's own."""
        return {name: self.world.render(name).copy() for name in ("front", "wrist")}

    def drive(self, pose: Pose, opening: float) -> None:
        """One tick towards a TCP target, by the same kinematics as arm_node's."""
        start = self.world.joint_positions() if self._joints is None else self._joints
        self._joints = self.kinematics.ik(start, pose, posture=self.home)
        self.world.step(self._joints, opening)


def apply_action(reference: Pose, action: npt.NDArray[np.float32]) -> tuple[Pose, float]:
    """A Cartesian action (7,) relative to `reference` -> TCP target and gripper opening."""
    rotation = rotation_matrix(action[3:6].astype(np.float64)) @ reference.rotation
    return Pose(reference.position + action[:3], rotation), float(np.clip(action[6], 0.0, 1.0))
