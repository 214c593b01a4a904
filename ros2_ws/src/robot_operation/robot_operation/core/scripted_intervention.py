# SPDX-License-Identifier: Apache-2.0
"""A scripted operator that takes over just before a grasp or a release would fail, or when the arm stalls.

It reads the simulator's ground truth, hands back when the object is lifted (or placed), and keeps below a maximal
intervention rate. For simulations: it stands in for the human who supervises a robot that learns.
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
_PROGRESS_STEP = 0.02  # progress that counts as such
_OPEN = 0.5
_NEAR_M, _DOWN_M = 0.05, 0.033  # of a held object to its end: horizontally, and how much higher


@dataclass(frozen=True)
class Tolerance:
    """How exactly a held object must be put down: distances to its end at which that is predicted to fail (m).

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
class SimState:
    """State of the simulation in one tick; positions (3,) in the base frame (m).

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
class InterventionConfig:
    """When the scripted operator intervenes.

    Attributes:
        closing_off_m: Horizontal distance to the object at which closing the gripper is predicted to fail.
        low_off_m: The same for going down beside the object.
        low_m: Height above the object's centre that counts as down.
        still_ticks: How long the TCP may stay in one place before it takes over.
        still_m: What still counts as one place.
        stall_ticks: How long there may be no progress before it takes over.
        hand_back_m: How high it lifts an object before it hands back.
        min_ticks: How long it drives at least, as what follows a rescue is worth showing too.
        max_rate: Fraction of all ticks so far beyond which it takes over no more. An intervention that has begun is
            finished, so this is less than the fifth that is meant.
        free_ticks: Ticks it may command before that rate counts.
    """

    closing_off_m: float = 0.02
    low_off_m: float = 0.03
    low_m: float = 0.035
    still_ticks: int = 14
    still_m: float = 0.02
    stall_ticks: int = 40
    hand_back_m: float = 0.08
    min_ticks: int = 16
    max_rate: float = 0.18
    free_ticks: int = 200

    def allow(self, human_ticks: int, ticks: int) -> bool:
        """Whether it may take over, after `human_ticks` of `ticks` ticks."""
        return human_ticks < max(self.free_ticks, self.max_rate * ticks)

    def predicts_failure(self, state: SimState) -> bool:
        """Whether a grasp or a release is about to fail."""
        if state.held:
            return _misplaces(state, _TOLERANCES.get(state.task, Tolerance()))
        off = state.tcp - state.object
        aside = math.hypot(off[0], off[1])
        if state.commanded < _OPEN < state.opening:
            return aside > self.closing_off_m
        return bool(off[2] < self.low_m) and aside > self.low_off_m


def _misplaces(state: SimState, tolerance: Tolerance) -> bool:
    """Whether a held object is let go, or goes down, beside its goal."""
    error = state.object - state.goal
    aside, above = math.hypot(error[0], error[1]), float(error[2])
    if state.commanded > _OPEN and (aside > tolerance.release_off_m or above > tolerance.release_high_m):
        return True
    return aside < _NEAR_M and above < _DOWN_M and aside > tolerance.down_off_m


class ScriptedIntervention:
    """Decides, tick by tick, whether the operator drives."""

    def __init__(self, config: InterventionConfig) -> None:
        self.config = config
        self.ticks, self.human_ticks = 0, 0
        self.engaged = False
        self._until_done = False
        self._at = (-1, -1)
        self._rest_m = 0.0
        self._place, self._arrived = np.zeros(3), 0  # where the TCP is, and since which tick
        self._best, self._advanced = 0.0, 0  # most progress so far, and at which tick
        self._engaged_at = 0  # at which tick

    @property
    def rate(self) -> float:
        """Intervention rate: fraction of all ticks so far that it commanded."""
        return self.human_ticks / max(1, self.ticks)

    def update(self, state: SimState) -> bool:
        """Take in a tick; a tick that is shown again changes nothing.

        Returns:
            Whether the operator drives from now on.
        """
        if (state.scene, state.tick) == self._at:
            return self.engaged
        if state.scene != self._at[0]:
            self.engaged, self._rest_m = False, float(state.object[2])
            self._place, self._arrived = state.tcp, state.tick
            self._best, self._advanced = state.progress, state.tick
        self._at = (state.scene, state.tick)
        if self.engaged or float(np.linalg.norm(state.tcp - self._place)) > self.config.still_m:
            self._place, self._arrived = state.tcp, state.tick
        if self.engaged or state.progress > self._best + _PROGRESS_STEP:
            self._best, self._advanced = max(self._best, state.progress), state.tick
        self.ticks += 1
        self.human_ticks += self.engaged
        if self.engaged:
            self.engaged = not self._is_done(state)
        elif self.config.allow(self.human_ticks, self.ticks) and (
            self._stalls(state) or self.config.predicts_failure(state)
        ):
            self.engaged, self._until_done = True, self._carried(state, _LIFTED_M)
            self._engaged_at = state.tick
        return self.engaged

    def _is_done(self, state: SimState) -> bool:
        if state.progress >= _DONE:
            return True
        is_rescued = not self._until_done and self._carried(state, self.config.hand_back_m)
        return is_rescued and state.tick - self._engaged_at >= self.config.min_ticks

    def _carried(self, state: SimState, height_m: float) -> bool:
        return state.held and float(state.object[2]) - self._rest_m > height_m

    def _stalls(self, state: SimState) -> bool:
        if state.progress >= _DONE:
            return False
        is_still = state.tick - self._arrived >= self.config.still_ticks
        return is_still or state.tick - self._advanced >= self.config.stall_ticks
