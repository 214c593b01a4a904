# SPDX-License-Identifier: Apache-2.0
"""The bodies of a task in a simulated scene: where they start, and the ground truth of the instructed pair."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.scene_index import SceneIndex
from sim_bridge.core.tasks import Layout, PairState, Task
from sim_bridge.core.truth import BodyState, Truth, progress_of, stage_of

Array = npt.NDArray[np.float64]


class TaskBodies:
    """Places the bodies of a task and reads what became of them.

    Args:
        task: The task.
        model: Compiled scene.
        data: State of the simulation.
        index: Places of the bodies in it.

    Attributes:
        layout: What the episode was drawn as; there is none before the first `place`.
    """

    layout: Layout

    def __init__(self, task: Task, model: Any, data: Any, index: SceneIndex) -> None:
        self._task, self._model, self._data, self._index = task, model, data, index

    def place(self, layout: Layout) -> None:
        """Put every body where the layout of an episode has it."""
        self.layout = layout
        for name, placement in layout.placements.items():
            turn = np.array([math.cos(placement.yaw_rad / 2), 0.0, 0.0, math.sin(placement.yaw_rad / 2)])
            mocap = self._model.body_mocapid[self._index.bodies[name]]
            if mocap >= 0:
                self._data.mocap_pos[mocap], self._data.mocap_quat[mocap] = placement.position, turn
            else:
                address = int(self._model.joint(name).qposadr[0])
                self._data.qpos[address : address + 7] = (*placement.position, *turn)

    def truth(self, instruction: str) -> Truth:
        """Ground truth of the pair that the layout names.

        Args:
            instruction: That the policy receives; success refers to the layout's own.
        """
        thing, goal = (self._index.bodies[name] for name in (self.layout.object_name, self.layout.goal_name))
        position = self._data.xpos[thing].copy()
        goal_position = self._data.xpos[goal] + np.array([0.0, 0.0, self._task.goal_offset_z_m])
        grasped, touched = self._contacts(thing)
        pair = PairState(
            error=self._data.xmat[goal].reshape(3, 3).T @ (position - goal_position),
            tilt_rad=self.tilt_rad(self.layout.object_name),
            speed_m_s=float(np.linalg.norm(self._data.cvel[thing][3:])),
            touched=touched,
        )
        done = self._task.done(pair)
        lift_m = position[2] - self.layout.placements[self.layout.object_name].position[2]
        stage = stage_of(pair, lift_m, grasped=grasped, done=done)
        reach_m = float(np.linalg.norm(self._data.site_xpos[self._index.tcp] - position))
        return Truth(
            task=self._task.name,
            instruction=instruction,
            true_instruction=self.layout.instruction,
            success=done,
            stage=stage,
            progress=progress_of(stage, pair, reach_m),
            object_position=position,
            goal_position=goal_position,
            object_yaw_rad=_yaw(self._data.xmat[thing]),
            goal_yaw_rad=_yaw(self._data.xmat[goal]),
            grasped=grasped,
            touched=touched,
        )

    def state(self, name: str) -> BodyState:
        """State of any body of the task.

        Raises:
            ValueError: There is no such body.
        """
        if name not in self._index.bodies:
            raise ValueError(f"unknown body {name!r}; there are {', '.join(self._index.bodies)}")
        body = self._index.bodies[name]
        axes = self._data.xmat[body].reshape(3, 3)
        level = axes[:, int(np.abs(axes[2]).argmin())]
        return BodyState(
            position=self._data.xpos[body].copy(),
            yaw_rad=math.atan2(level[1], level[0]),
            upright=float(abs(axes[2, 2])),
            grasped=self._contacts(body)[0],
        )

    def tilt_rad(self, name: str) -> float:
        """Angle between the vertical and the body's axis that is vertical at the start; of a cube, the nearest axis."""
        upright = np.abs(self._data.xmat[self._index.bodies[name]][6:9])  # how vertical each axis of the body is
        spec = next(body for body in self._task.bodies if body.name == name)
        return math.acos(min(1.0, float(upright.max() if spec.stands_on_any_face else upright[2])))

    def _contacts(self, body: int) -> tuple[bool, bool]:
        """Whether both fingers touch a body, and whether any part of the robot does."""
        owner = self._model.geom_bodyid[self._data.contact.geom]  # (contacts, 2)
        others = np.where(owner[:, 0] == body, owner[:, 1], owner[:, 0])[(owner == body).any(axis=1)]
        return all((others == pad).any() for pad in self._index.pads), bool(self._index.is_robot[others].any())


def _yaw(flat_rotation: Array) -> float:
    return math.atan2(flat_rotation[3], flat_rotation[0])
