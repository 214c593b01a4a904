# SPDX-License-Identifier: Apache-2.0
"""A scripted person who watches, and takes over just before a grasp or a release would fail, or when the arm hangs.

They know the truth as a person at the robot does, hand back when the object is lifted (or placed), and keep to a
share of all ticks. For simulations: they stand in for somebody who watches a robot learn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Progress of a task from which the object is held, and at which it is done.
_HELD, _DONE = 0.3, 1.0
_LIFTED_M = 0.02
_HEADWAY = 0.02  # progress that counts as such
_OPEN = 0.5
_NEAR_M, _DOWN_M = 0.05, 0.033  # of a held object to its end: horizontally, and how much higher


@dataclass(frozen=True)
class Tolerance:
    """How exactly a held object must be put down: distances to its end at which that is seen to fail (m).

    Attributes:
        release_off_m: Horizontally, opening the gripper.
        release_high_m: Vertically, opening the gripper.
        down_off_m: Horizontally, going down near it.
    """

    release_off_m: float = 0.04
    release_high_m: float = math.inf
    down_off_m: float = math.inf


# A peg meets the bevel of a socket 3 cm above its end, and slides in from up to a centimetre beside.
_TOLERANCES = {"stack": Tolerance(release_off_m=0.018), "insert": Tolerance(0.005, 0.022, 0.012)}


@dataclass(frozen=True, eq=False)
class Sight:
    """What a person at the robot sees in one tick; positions (3,) in the base frame (m).

    Attributes:
        task: Name of the task.
        scene: Number of the scene since the simulator started.
        tick: Within the scene.
        tcp: Measured position of the TCP.
        object: Centre of the instructed object.
        goal: Where its centre should end.
        progress: Of the task, 0 to 1.
        opening: Measured gripper opening, 1 open.
        commanded: Commanded gripper opening.
    """

    task: str
    scene: int
    tick: int
    tcp: Array
    object: Array
    goal: Array
    progress: float
    opening: float
    commanded: float

    @property
    def held(self) -> bool:
        """Whether the object is between the fingers."""
        return self.progress > _HELD


@dataclass(frozen=True)
class Habits:
    """When a person interferes.

    Attributes:
        closing_off_m: Horizontal distance to the object at which closing the gripper is seen to fail.
        low_off_m: The same for going down beside the object.
        low_m: Height above the object's centre that counts as down.
        still_ticks: How long the hand may stay in one place before they lose patience.
        still_m: What still counts as one place.
        headway_ticks: How long there may be no progress before they lose patience.
        hand_back_m: How high they lift an object before they hand back.
        least_ticks: How long they drive at least, as what follows a rescue is worth showing too.
        most_share: Of all ticks so far, beyond which they take over no more. A turn that has begun is ended, so this is
            less than the fifth that is meant.
        free_ticks: Ticks they may command before that share counts.
    """

    closing_off_m: float = 0.02
    low_off_m: float = 0.03
    low_m: float = 0.035
    still_ticks: int = 14
    still_m: float = 0.02
    headway_ticks: int = 40
    hand_back_m: float = 0.08
    least_ticks: int = 16
    most_share: float = 0.18
    free_ticks: int = 200

    def allow(self, own: int, seen: int) -> bool:
        """Whether they may take over, after `own` of `seen` ticks."""
        return own < max(self.free_ticks, self.most_share * seen)

    def see_failure(self, sight: Sight) -> bool:
        """Whether a grasp or a release is about to fail."""
        if sight.held:
            return _misplaces(sight, _TOLERANCES.get(sight.task, Tolerance()))
        off = sight.tcp - sight.object
        aside = math.hypot(off[0], off[1])
        if sight.commanded < _OPEN < sight.opening:
            return aside > self.closing_off_m
        return bool(off[2] < self.low_m) and aside > self.low_off_m


def _misplaces(sight: Sight, tolerance: Tolerance) -> bool:
    """Whether a held object is let go, or goes down, beside its goal."""
    error = sight.object - sight.goal
    aside, above = math.hypot(error[0], error[1]), float(error[2])
    if sight.commanded > _OPEN and (aside > tolerance.release_off_m or above > tolerance.release_high_m):
        return True
    return aside < _NEAR_M and above < _DOWN_M and aside > tolerance.down_off_m


class Supervisor:
    """Decides, tick by tick, whether the person drives."""

    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.seen, self.own = 0, 0
        self.drives = False
        self._until_done = False
        self._at = (-1, -1)
        self._rest_m = 0.0
        self._place, self._arrived = np.zeros(3), 0  # where the hand is, and since which tick
        self._best, self._advanced = 0.0, 0  # most progress so far, and at which tick
        self._took_over = 0  # at which tick

    @property
    def share(self) -> float:
        """Of all ticks so far that they commanded."""
        return self.own / max(1, self.seen)

    def see(self, sight: Sight) -> bool:
        """Take in a tick; a tick that is shown again changes nothing.

        Returns:
            Whether the person drives from now on.
        """
        if (sight.scene, sight.tick) == self._at:
            return self.drives
        if sight.scene != self._at[0]:
            self.drives, self._rest_m = False, float(sight.object[2])
            self._place, self._arrived = sight.tcp, sight.tick
            self._best, self._advanced = sight.progress, sight.tick
        self._at = (sight.scene, sight.tick)
        if self.drives or float(np.linalg.norm(sight.tcp - self._place)) > self.habits.still_m:
            self._place, self._arrived = sight.tcp, sight.tick
        if self.drives or sight.progress > self._best + _HEADWAY:
            self._best, self._advanced = max(self._best, sight.progress), sight.tick
        self.seen += 1
        self.own += self.drives
        if self.drives:
            self.drives = not self._helped(sight)
        elif self.habits.allow(self.own, self.seen) and (self._hangs(sight) or self.habits.see_failure(sight)):
            self.drives, self._until_done = True, self._carried(sight, _LIFTED_M)
            self._took_over = sight.tick
        return self.drives

    def _helped(self, sight: Sight) -> bool:
        if sight.progress >= _DONE:
            return True
        is_rescued = not self._until_done and self._carried(sight, self.habits.hand_back_m)
        return is_rescued and sight.tick - self._took_over >= self.habits.least_ticks

    def _carried(self, sight: Sight, height_m: float) -> bool:
        return sight.held and float(sight.object[2]) - self._rest_m > height_m

    def _hangs(self, sight: Sight) -> bool:
        if sight.progress >= _DONE:
            return False
        is_still = sight.tick - self._arrived >= self.habits.still_ticks
        return is_still or sight.tick - self._advanced >= self.habits.headway_ticks
