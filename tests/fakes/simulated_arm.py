# SPDX-License-Identifier: Apache-2.0
"""Environments of the shipped simulated arm, small and quick to draw."""

from __future__ import annotations

from fakes.arm_world import PACKAGE, panda
from sim_bridge.core.environment import EnvironmentConfig
from whetstone_cli.core.simulation import EnvironmentMaker


def panda_maker(
    task: str = "pick_place", *, max_ticks: int = 160, execute_steps: int = 8, image_size_px: int = 32
) -> EnvironmentMaker:
    """Of that task."""
    robot = panda()
    urdf = (PACKAGE / "description" / robot.urdf).read_text(encoding="utf-8")
    config = EnvironmentConfig(task, image_size_px=image_size_px, max_ticks=max_ticks)
    return EnvironmentMaker(config, robot, urdf, execute_steps)
