# SPDX-License-Identifier: Apache-2.0
"""Simulator and arm limits together: environments of a shipped or own robot, made where they will run."""

from __future__ import annotations

from dataclasses import dataclass

from robot_bringup.core.tcp_limiter import TcpLimiter
from sim_bridge.core.environment import ChunkEnvironment, Environment, EnvironmentConfig
from whetstone_common.core.kinematics import Kinematics
from whetstone_common.core.robot import Robot


def limiter_of(robot: Robot, urdf: str, control_hz: float) -> TcpLimiter:
    """The limits of a robot's arm.

    Args:
        robot: The robot.
        urdf: Text of its URDF.
        control_hz: Commands per second.

    Raises:
        ValueError: The URDF lacks the tip or a joint.
    """
    kinematics = Kinematics.from_urdf(urdf, robot.tip, robot.joints)
    return TcpLimiter(kinematics, robot.limits, robot.home, 1.0 / control_hz)


@dataclass(frozen=True)
class EnvironmentMaker:
    """Makes environments; travels to the process in which one runs.

    Attributes:
        config: Task, images, length of an episode.
        robot: Whose limits hold.
        urdf: Text of its URDF.
        execute_steps: C, steps of a chunk; see `chunks`.
    """

    config: EnvironmentConfig
    robot: Robot
    urdf: str
    execute_steps: int = 8

    def ticks(self) -> Environment:
        """An environment that takes one action per control tick."""
        return Environment(self.config, limiter_of(self.robot, self.urdf, self.config.control_hz))

    def chunks(self) -> ChunkEnvironment:
        """An environment that takes one chunk of `execute_steps` actions per step."""
        return ChunkEnvironment(self.ticks(), self.execute_steps)
