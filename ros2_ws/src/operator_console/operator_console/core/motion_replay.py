# SPDX-License-Identifier: Apache-2.0
"""A recorded motion as commands of an operator: to its start first, then along it, no faster than it was recorded.

Legend: T recorded steps, J arm joints. Time is passed in, ROS time in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np
import numpy.typing as npt

from operator_console.core.playback import EpisodeReplay
from whetstone_common.core.kinematics import Pose

Array = npt.NDArray[np.float64]
Forward = Callable[[npt.ArrayLike], Pose]
LEAST_SPEED, MOST_SPEED = 0.1, 1.0
# So near counts as arrived.
_NEAR_M, _NEAR_RAD = 0.005, 0.05
# At the end, the last target is held for so long: time for a verdict about the episode.
_VERDICT_S = 2.0


class ReplayError(ValueError):
    """A motion that cannot be replayed on this arm; the text says why."""


class ReplayPhase(Enum):
    """What the replay does."""

    APPROACHING = "moves to the start"
    PLAYING = "plays"
    ENDING = "waits for a verdict"
    HALTED = "stops"
    OVER = "over"


class MotionReplay:
    """Follows the recorded commands of an episode.

    Args:
        episode: Whose commanded joints are followed.
        joints: Names of the arm's joints, then of its gripper.
        forward: Pose of the TCP at joint positions (J,) rad.
        speed: Share of the recorded speed.

    Attributes:
        phase: What it does now.

    Raises:
        ReplayError: The episode is of other joints, its numbers are not finite, or the speed is out of range.
    """

    def __init__(self, episode: EpisodeReplay, joints: Sequence[str], forward: Forward, speed: float) -> None:
        if not LEAST_SPEED <= speed <= MOST_SPEED:
            raise ReplayError(f"speed is {speed:g}, allowed are {LEAST_SPEED:g} to {MOST_SPEED:g}")
        if tuple(episode.joints) != tuple(joints):
            raise ReplayError(
                f"the episode has the joints {', '.join(episode.joints)}; this arm has {', '.join(joints)}"
            )
        if not np.isfinite(episode.commanded).all():
            raise ReplayError("the episode's commands are not all finite")
        self._times_s, self._commanded = episode.times_s, episode.commanded
        self._forward, self._speed = forward, speed
        self.phase = ReplayPhase.APPROACHING
        self._place_s = 0.0  # in the recording
        self._since_s = float("nan")  # ROS time at which the phase began
        self._commanded_pose: Pose | None = None

    def advance(self, commanded: Pose, now_s: float) -> None:
        """The arm has commanded this pose of the TCP, after its limits."""
        if self.phase is not ReplayPhase.HALTED:
            self._commanded_pose = commanded
        if self.phase is ReplayPhase.APPROACHING and self._is_near(commanded):
            self._enter(ReplayPhase.PLAYING, now_s)
        elif self.phase is ReplayPhase.PLAYING:
            self._place_s = min((now_s - self._since_s) * self._speed, float(self._times_s[-1]))
            if self._place_s >= self._times_s[-1] and self._is_near(commanded):
                self._enter(ReplayPhase.ENDING, now_s)
        elif self.phase is ReplayPhase.ENDING and now_s - self._since_s >= _VERDICT_S:
            self._enter(ReplayPhase.OVER, now_s)

    def halt(self) -> None:
        """Stay where the arm was commanded to be last."""
        self.phase = ReplayPhase.HALTED

    @property
    def target(self) -> tuple[Pose, float]:
        """Pose of the TCP to be at now, and the opening of the gripper, 0 closed to 1 open."""
        now = [np.interp(self._place_s, self._times_s, column) for column in self._commanded.T]
        held = self._commanded_pose if self.phase is ReplayPhase.HALTED else None
        return held or self._forward(np.array(now[:-1])), float(np.clip(now[-1], 0.0, 1.0))

    @property
    def share(self) -> float:
        """How much of the motion has been played, 0..1."""
        return self._place_s / max(float(self._times_s[-1]), 1e-9)

    def _is_near(self, commanded: Pose) -> bool:
        target, _ = self.target
        return commanded.distance_m(target) < _NEAR_M and commanded.angle_rad(target) < _NEAR_RAD

    def _enter(self, phase: ReplayPhase, now_s: float) -> None:
        self.phase, self._since_s = phase, now_s
