# SPDX-License-Identifier: Apache-2.0
"""A scripted person who watches, and takes over just before a grasp or a release would fail, or when the arm hangs.

They know the truth as a person at the robot does, act through the expert, hand back as soon as the object is held
(or placed), and keep to a share of all steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sim_rollout import Cell, Pose

from sim_bridge.core.truth import Stage


@dataclass(frozen=True)
class Habits:
    """When a person interferes.

    Attributes:
        closing_off_m: Horizontal distance to the object at which closing the gripper is seen to fail.
        low_off_m: The same for going down beside the object.
        low_m: Height above the object's centre that counts as down.
        release_off_m: Horizontal distance of a held object to its goal at which opening is seen to fail.
        still_ticks: How long the hand may stay in one place before they lose patience.
        still_m: What still counts as one place.
        most_share: Of all steps so far that they may command.
        free_ticks: Steps they may command before that share counts.
    """

    closing_off_m: float = 0.02
    low_off_m: float = 0.03
    low_m: float = 0.035
    release_off_m: float = 0.04
    still_ticks: int = 24
    still_m: float = 0.02
    most_share: float = 0.2
    free_ticks: int = 200


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
        truth, tcp = cell.world.truth(), cell.world.tcp_pose().position
        self._still += 1
        if self._engaged or float(np.linalg.norm(tcp - self._place)) > self.habits.still_m:
            self._place, self._still = tcp, 0
        if self._engaged and fresh and truth.stage >= self._wanted:
            self._engaged = False
        hangs = self._still >= self.habits.still_ticks
        if not self._engaged and self._may() and (hangs or self._fails(cell, opening)):
            self._engaged = True
            self._wanted = Stage.DONE if truth.stage >= Stage.CARRIED else Stage.CARRIED
            cell.expert.reset()
        if not self._engaged:
            return None
        self.own_ticks += 1
        command = cell.expert.act(cell.world.sense())
        return command.pose, command.opening

    def _may(self) -> bool:
        return self.own_ticks < max(self.habits.free_ticks, self.habits.most_share * self.seen_ticks)

    def _fails(self, cell: Cell, opening: float) -> bool:
        truth, tcp = cell.world.truth(), cell.world.tcp_pose().position
        if truth.stage >= Stage.GRASPED:
            error = truth.object_position - truth.goal_position
            return opening > 0.5 and math.hypot(error[0], error[1]) > self.habits.release_off_m
        off = tcp - truth.object_position
        aside = math.hypot(off[0], off[1])
        if opening < 0.5 and cell.world.gripper_opening() > 0.5:
            return aside > self.habits.closing_off_m
        return off[2] < self.habits.low_m and aside > self.habits.low_off_m
