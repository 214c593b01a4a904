# SPDX-License-Identifier: Apache-2.0
"""What the in-process collector and evaluator share: a simulation of the shipped arm, without ROS."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "whetstone_common",
    "rl_methods",
    "vla_policy",
    "sim_bridge",
    "robot_bringup",
    "robot_operation",
    "experience",
    "rl_learner",
    "whetstone_cli",
)
for package in PACKAGES:
    sys.path.insert(0, str(ROOT / "ros2_ws" / "src" / package))

from robot_bringup.core.tcp_limiter import LimitedTcpCommand, TcpLimiter  # noqa: E402
from sim_bridge.core.expert import Expert  # noqa: E402
from sim_bridge.core.tasks import get_task  # noqa: E402
from sim_bridge.core.tcp_simulation import TcpSimulation  # noqa: E402
from whetstone_common.core.cartesian import displaced  # noqa: E402
from whetstone_common.core.kinematics import Kinematics, Pose, rotation_matrix  # noqa: E402
from whetstone_common.core.robot import load_robot  # noqa: E402

__all__ = [
    "POLICY_TIMEOUT_TICKS",
    "ROOT",
    "TASKS",
    "Cell",
    "LimitedTcpCommand",
    "Pose",
    "apply_action",
    "rotation_matrix",
]

TASKS = ("pick_place", "stack", "insert")
URDF = ROOT / "ros2_ws" / "src" / "robot_bringup" / "description" / "panda.urdf"
ROBOT = ROOT / "ros2_ws" / "src" / "robot_bringup" / "config" / "robots" / "sim_panda.yaml"
POLICY_TIMEOUT_TICKS = 160
_TICK_S = 0.05


class Cell(TcpSimulation):
    """One task's world with the limits of the shipped simulated arm.

    Args:
        task: Name of the task.
        image_size_px: Width and height of the images.

    Attributes:
        expert: Whose commands have joints too, as demonstrations record them.
    """

    def __init__(self, task: str, image_size_px: int = 96) -> None:
        robot = load_robot(ROBOT)
        kinematics = Kinematics.from_urdf(URDF.read_text(encoding="utf-8"), robot.tip, robot.joints)
        limiter = TcpLimiter(kinematics, robot.limits, robot.home, _TICK_S)
        super().__init__(task, limiter, image_size_px=image_size_px)
        self.expert = Expert(get_task(task), kinematics, robot.home)

    def reset(self, seed: int) -> None:
        """Starts the episode of `seed`."""
        super().reset(seed)
        self.expert.reset()


def apply_action(reference: Pose, action: npt.NDArray[np.float32]) -> tuple[Pose, float]:
    """A Cartesian action (7,) relative to `reference` -> TCP target and gripper opening."""
    return displaced(reference, action), float(np.clip(action[6], 0.0, 1.0))
