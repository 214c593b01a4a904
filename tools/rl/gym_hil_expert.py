# SPDX-License-Identifier: Apache-2.0
"""Who shows and corrects gym-hil's `PandaPickCube`: a scripted expert that knows where the cube is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gym_hil_scene import LIFT_M, TASK, Array, GymHilScene

from robot_operation.core.scripted_intervention import InterventionConfig, SimState
from whetstone_cli.core.simulated_scene import SupervisingOperator
from whetstone_common.core.kinematics import Pose

_OVER_M = 0.08  # above the cube while the hand is beside it
_BESIDE_M = 0.02  # horizontal distance from which the hand must be over the cube
_GRASP_XY_M, _GRASP_Z_M = 0.006, 0.006
_LOST_M = 0.03  # distance at which a closing gripper holds nothing
_CLOSING_TICKS = 9
_HELD_M, _HELD_PROGRESS = 0.005, 0.35  # a cube that is higher than this is held


@dataclass
class PickExpert:
    """Over the cube, down, closed, up; begins anew when the cube is not where the fingers are.

    Attributes:
        closing: Control steps since it began to close.
    """

    closing: int = 0

    def aim(self, tcp: Array, cube: Array) -> tuple[Array, float]:
        """Where the TCP should go (m), and the gripper opening."""
        off = tcp - cube
        aside, above = float(np.hypot(off[0], off[1])), float(off[2])
        if self.closing and max(aside, abs(above)) > _LOST_M:
            self.closing = 0
        if self.closing or (aside < _GRASP_XY_M and above < _GRASP_Z_M):
            self.closing += 1
            return tcp + np.array([0.0, 0.0, 0.05 * (self.closing > _CLOSING_TICKS)]), 0.0
        if aside < _GRASP_XY_M or (aside < _BESIDE_M and above < _OVER_M / 2):
            return cube, 1.0
        over = cube + np.array([0.0, 0.0, _OVER_M])
        is_low = above < _OVER_M / 2
        return (np.array([*tcp[:2], over[2]]) if is_low else over), 1.0


class PickOperator(SupervisingOperator):
    """The operator of gym-hil's task.

    Args:
        scene: What is watched.
        config: When they take over and hand back.
    """

    def __init__(self, scene: GymHilScene, config: InterventionConfig | None = None) -> None:
        super().__init__(config)
        self._watched, self._expert = scene, PickExpert()

    def command(self) -> tuple[Pose, float]:
        """What the expert would do now."""
        scene, pose = self._watched, self._watched.pose()
        place, opening = self._expert.aim(scene.tcp, scene.cube)
        return Pose(place - scene.tcp + pose.position, pose.rotation), opening

    def begin_to_drive(self) -> None:
        """Let the expert forget what it was doing."""
        self._expert = PickExpert()

    def state(self, scene: int, commanded_opening: float) -> SimState:
        """What decides about a takeover, in the scene of that number."""
        watched = self._watched
        lifted = watched.lifted_m
        share = min(1.0, lifted / LIFT_M)
        return SimState(
            task=TASK, scene=scene, tick=watched.tick, tcp=watched.tcp, object=watched.cube,
            goal=watched.goal,
            progress=_HELD_PROGRESS + (1.0 - _HELD_PROGRESS) * share if lifted > _HELD_M else 0.0,
            opening=watched.opening, commanded=commanded_opening,
        )  # fmt: skip
