# SPDX-License-Identifier: Apache-2.0
"""A scripted person who watches, and takes over just before a grasp or a release would fail, or when the arm hangs.

They know the truth as a person at the robot does, act through the expert, hand back as soon as the object is held
(or placed), and keep to a share of all steps. When they interfere is one piece with the supervisor of the graph.
"""

from __future__ import annotations

import numpy as np
from sim_rollout import Cell, Pose

from robot_bringup.core.supervisor import Habits, Sight
from sim_bridge.core.truth import Stage, Truth


class ScriptedPerson:
    """See the module."""

    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.seen_ticks, self.own_ticks = 0, 0
        self._engaged, self._wanted = False, Stage.GRASPED
        self._place, self._still = np.zeros(3), 0  # where the hand is, and for how many ticks

    def reset(self) -> None:
        """A new episode."""
        self._engaged, self._still = False, 0

    @property
    def share(self) -> float:
        """Of all steps so far that they commanded."""
        return self.own_ticks / max(1, self.seen_ticks)

    def act(self, cell: Cell, pose: Pose, opening: float, *, fresh: bool) -> tuple[Pose, float] | None:
        """Takes over, goes on, or hands back."""
        self.seen_ticks += 1
        truth = cell.world.truth()
        sight, stage = sight_of(cell, truth, opening), truth.stage
        self._still += 1
        if self._engaged or float(np.linalg.norm(sight.tcp - self._place)) > self.habits.still_m:
            self._place, self._still = sight.tcp, 0
        if self._engaged and fresh and stage >= self._wanted:
            self._engaged = False
        hangs = self._still >= self.habits.still_ticks
        allowed = self.habits.allow(self.own_ticks, self.seen_ticks)
        if not self._engaged and allowed and (hangs or self.habits.see_failure(sight)):
            self._engaged = True
            self._wanted = Stage.DONE if stage >= Stage.CARRIED else Stage.CARRIED
            cell.expert.reset()
        if not self._engaged:
            return None
        self.own_ticks += 1
        command = cell.expert.act(cell.world.sense())
        return command.pose, command.opening


def sight_of(cell: Cell, truth: Truth, opening: float) -> Sight:
    """What a person sees when that gripper opening is about to be commanded."""
    world = cell.world
    return Sight(
        scene=0, tick=world.tick, tcp=world.tcp_pose().position, object=truth.object_position,
        goal=truth.goal_position, progress=truth.progress, opening=world.gripper_opening(), commanded=opening,
    )  # fmt: skip
