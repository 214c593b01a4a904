# SPDX-License-Identifier: Apache-2.0
"""What the in-process collector and evaluator share: a world, an expert and Cartesian commands, without ROS.

Commands pass the limits of arm_node, so that a policy is as fast here as there. One thing is simpler: what the limits
refuse costs a tick of braking, where arm_node asks for another chunk in the same tick.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
for package in ("whetstone_common", "vla_policy", "sim_bridge", "robot_bringup"):
    sys.path.insert(0, str(ROOT / "ros2_ws" / "src" / package))

from robot_bringup.core.robot import load_robot  # noqa: E402
from robot_bringup.core.safety import Motion, Verdict, limit  # noqa: E402
from robot_bringup.core.safety import seed as at_rest  # noqa: E402
from sim_bridge.core.arm import PANDA  # noqa: E402
from sim_bridge.core.expert import Expert  # noqa: E402
from sim_bridge.core.tasks import get_task  # noqa: E402
from sim_bridge.core.world import World  # noqa: E402
from vla_policy.core.training.dataset import cartesian_proprio  # noqa: E402
from whetstone_common.core.kinematics import Kinematics, Pose, rotation_matrix  # noqa: E402

TASKS = ("pick_place", "stack", "insert")
URDF = ROOT / "ros2_ws" / "src" / "robot_bringup" / "description" / "panda.urdf"
ROBOT = ROOT / "ros2_ws" / "src" / "robot_bringup" / "config" / "robots" / "sim_panda.yaml"
POLICY_TIMEOUT_TICKS = 160
_TICK_S = 0.05


@dataclass(frozen=True, eq=False)
class Driven:
    """What became of a command.

    Attributes:
        pose: Of the TCP, as commanded after the limits.
        opening: The same of the gripper.
        refused: Too far from what the limits allow: the arm braked instead.
    """

    pose: Pose
    opening: float
    refused: bool


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
        self._limits = load_robot(ROBOT).limits
        self._patient = self._limits.for_a_person()
        self._last: Motion | None = None

    def reset(self, seed: int) -> None:
        """Starts the episode of `seed`."""
        self.world.reset(seed)
        self.expert.reset()
        self._last = None

    def proprio(self) -> npt.NDArray[np.float32]:
        """[10], as observation_node makes it."""
        pose = self.world.tcp_pose()
        return cartesian_proprio(pose.position, pose.rotation, self.world.gripper_opening())

    def images(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Both cameras; the arrays are the caller's own."""
        return {name: self.world.render(name).copy() for name in ("front", "wrist")}

    def drive(self, pose: Pose, opening: float, *, by_person: bool = False) -> Driven:
        """One tick towards a TCP target, by the kinematics and within the limits of arm_node."""
        last = self._last or at_rest(self.world.joint_positions(), self.world.gripper_opening(), self._limits)
        wish = self.kinematics.ik(last.position, pose, posture=self.home)
        limits = self._patient if by_person else self._limits
        limited = limit(wish, opening, last, limits, _TICK_S, lambda joints: self.kinematics.fk(joints).position)
        self._last = motion = limited.motion
        self.world.step(motion.position, motion.opening)
        refused = limited.verdict in (Verdict.REFUSED, Verdict.NOT_FINITE)
        return Driven(self.kinematics.fk(motion.position), motion.opening, refused)


def apply_action(reference: Pose, action: npt.NDArray[np.float32]) -> tuple[Pose, float]:
    """A Cartesian action (7,) relative to `reference` -> TCP target and gripper opening."""
    rotation = rotation_matrix(action[3:6].astype(np.float64)) @ reference.rotation
    return Pose(reference.position + action[:3], rotation), float(np.clip(action[6], 0.0, 1.0))
