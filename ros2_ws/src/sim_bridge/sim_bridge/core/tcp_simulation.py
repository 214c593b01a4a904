# SPDX-License-Identifier: Apache-2.0
"""Simulation with TCP targets, in process and without ROS; the arm's limits are an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sim_bridge.core.expert import ExpertController, ExpertTarget
from sim_bridge.core.offscreen import Image
from sim_bridge.core.scene import CAMERAS
from sim_bridge.core.tasks import get_task
from sim_bridge.core.truth import Truth
from sim_bridge.core.world import World
from whetstone_common.core.cartesian import cartesian_proprio
from whetstone_common.core.kinematics import Pose

Array = npt.NDArray[np.float64]


class LimitedCommand(Protocol):
    """A TCP target after the arm's limits."""

    @property
    def joints(self) -> Array:
        """(7,) rad to command."""
        ...

    @property
    def opening(self) -> float:
        """Gripper opening to command."""
        ...

    @property
    def pose(self) -> Pose:
        """TCP pose at those joints."""
        ...

    @property
    def is_rejected(self) -> bool:
        """Whether the target was rejected and the arm decelerates."""
        ...


class Limiter(Protocol):
    """The limits of an arm: `robot_bringup.core.tcp_limiter.TcpLimiter`, or none in a test."""

    def start(self, joints: Array, opening: float) -> None:
        """Begin at rest at measured joints (7,) rad and gripper opening."""
        ...

    def limited(self, pose: Pose, opening: float, *, by_human: bool = False) -> LimitedCommand:
        """The command of the next tick towards a TCP target."""
        ...


class TcpSimulation:
    """One task's world, its scripted expert, and an arm that follows TCP targets within its limits.

    Args:
        task: Name of the task.
        limiter: The arm's limits.
        image_size_px: Width and height of the images.
        control_hz: Ticks per second; those of `limiter`.

    Raises:
        ValueError: The task is unknown, or a tick is not a whole number of physics steps.
    """

    def __init__(self, task: str, limiter: Limiter, *, image_size_px: int = 96, control_hz: float = 20.0) -> None:
        self.world = World(task, image_size=image_size_px, control_hz=control_hz)
        self._pilot = ExpertController(get_task(task))
        self._limiter = limiter
        limiter.start(self.world.joint_positions(), self.world.gripper_opening())

    def reset(self, seed: int) -> None:
        """Start the episode of `seed`; the same seed is the same episode, bit for bit."""
        self.world.reset(seed)
        self._pilot.reset()
        self._limiter.start(self.world.joint_positions(), self.world.gripper_opening())

    def drive(self, pose: Pose, opening: float, *, by_human: bool = False) -> LimitedCommand:
        """Run one tick towards a TCP target; returns the command after the limits."""
        command = self._limiter.limited(pose, opening, by_human=by_human)
        self.world.step(command.joints, command.opening)
        return command

    def expert_aim(self) -> ExpertTarget:
        """Command of the scripted expert; call once per tick, since it counts ticks."""
        return self._pilot.aim(self.world.sense())

    def reset_expert(self) -> None:
        """Reset the expert to the current state of the arm."""
        self._pilot.reset()

    def proprio(self) -> npt.NDArray[np.float32]:
        """[10] proprioception of a Cartesian policy, as observation_node makes it."""
        return cartesian_proprio(self.world.tcp_pose(), self.world.gripper_opening())

    def images(self) -> Mapping[str, Image]:
        """All cameras, uint8 [size, size, 3]; the arrays are copies."""
        return {name: self.world.render(name).copy() for name in CAMERAS}

    def truth(self) -> Truth:
        """State of the pair drawn at reset."""
        return self.world.truth()

    def close(self) -> None:
        """Free the OpenGL context; call from the thread that rendered."""
        self.world.close()
