# SPDX-License-Identifier: Apache-2.0
"""Takeover by an operator: which device drives, when it is lost, and what it commands.

A lost operator is no release: the arm holds until the same device is released and engaged again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from robot_bringup.core.cartesian import pose_from_seven
from whetstone_common.core.epochs import EpochTracker
from whetstone_common.core.kinematics import Pose, rotation_matrix, rotation_vector
from whetstone_common.core.robot import MotionLimits

Array = npt.NDArray[np.float64]


# A leader arm's own gripper may read a little beyond its ends.
_LOWEST, _HIGHEST = -0.05, 1.05
# Beyond these a number is a mistake and no wish; wishes that are merely fast are slowed down to the limits.
_MAX_TWIST = np.array([10.0] * 3 + [50.0] * 3)
_MAX_TARGET_M = 10.0


class TakeoverMode(Enum):
    """What a takeover message commands."""

    VELOCITY = 0
    TCP_TARGET = 1


class DeadmanState(Enum):
    """State of the deadman switch."""

    OFF = "off"
    ON = "on"
    LOST = "lost"  # vanished while on


class InputResult(Enum):
    """What became of a takeover message."""

    IGNORED = "ignored"  # of no consequence
    OLD = "old"  # doubled, or from before the newest one
    ENGAGED = "engaged"  # an operator has begun to drive
    DRIVING = "driving"
    RELEASED = "released"
    SECOND_SOURCE = "second_source"
    BAD = "bad"


@dataclass(frozen=True, eq=False)
class TakeoverSample:
    """One message of a takeover device.

    Attributes:
        source: Name of the publishing node.
        source_epoch: Identity of its process.
        sequence: Grows within the epoch.
        engaged: Deadman held.
        drive: Meaning of the command.
        twist: (6,) m/s and rad/s in the base frame.
        tcp_target: (7,) x y z (m) qx qy qz qw.
        opening: Gripper, 0..1; NaN leaves it as it is.
        time_ns: ROS time; 0 for none.
    """

    source: str
    source_epoch: int
    sequence: int
    engaged: bool
    drive: TakeoverMode
    twist: Array
    tcp_target: Array
    opening: float
    time_ns: int = 0

    def problem(self) -> str:
        """Why the sample may not drive; empty when it may. A release always may."""
        if not self.engaged:
            return ""
        if not self.source:
            return "source is empty, expected the name of the publishing node"
        if not (np.isnan(self.opening) or _LOWEST <= self.opening <= _HIGHEST):
            return f"gripper is {self.opening:g}, expected an opening of 0 to 1, or NaN to leave it"
        return self._twist_problem() if self.drive is TakeoverMode.VELOCITY else self._target_problem()

    def _twist_problem(self) -> str:
        if not np.isfinite(self.twist).all():
            return f"twist {self.twist.tolist()} is not finite"
        if (np.abs(self.twist) > _MAX_TWIST).any():
            return f"twist {self.twist.tolist()} is beyond {_MAX_TWIST[0]:g} m/s or {_MAX_TWIST[-1]:g} rad/s"
        return ""

    def _target_problem(self) -> str:
        try:
            pose = pose_from_seven(self.tcp_target)
        except ValueError as error:
            return f"tcp_target: {error}"
        if (np.abs(pose.position) > _MAX_TARGET_M).any():
            return f"tcp_target {pose.position.tolist()} is further than {_MAX_TARGET_M:g} m from the base"
        return ""

    def still(self, other: TakeoverSample) -> bool:
        """Whether both ask for exactly the same motion, and for motion at all."""
        same = self.drive is other.drive is TakeoverMode.VELOCITY and np.array_equal(self.twist, other.twist)
        return bool(same and np.any(self.twist))


class Takeover:
    """Which device drives.

    Args:
        timeout_s: Silence while engaged after which the operator is lost.
        stuck_s: A velocity that stays exactly the same for this long is a stuck axis.
        forget_s: A device that has let go and is silent for this long makes room for another, and one that starts anew
            under the same name may have any epoch.
    """

    def __init__(self, timeout_s: float, stuck_s: float, forget_s: float = 2.0) -> None:
        self._timeout_s = timeout_s
        self._stuck_s = stuck_s
        self._forget_s = forget_s
        self.deadman = DeadmanState.OFF
        self.sample: TakeoverSample | None = None
        self.source = ""
        self._epochs = EpochTracker()
        self._sequences: dict[int, int] = {}
        self._heard_s = -math.inf
        self._problem = ""  # of the newest message, when it was refused
        self._same_since_s = 0.0

    def update(self, sample: TakeoverSample, now_s: float) -> InputResult:
        """Take a message in."""
        self._forget_silent(now_s)
        if self.source and sample.source != self.source:
            return InputResult.SECOND_SOURCE
        if sample.sequence <= self._sequences.get(sample.source_epoch, -1):
            return InputResult.OLD
        if sample.source_epoch != self._epochs.followed and self.deadman is DeadmanState.ON:
            return InputResult.SECOND_SOURCE  # two processes of one name at once
        if not self._epochs.counts(sample.source_epoch, now_s):
            return InputResult.OLD  # the process before has only just spoken
        self._problem = sample.problem()
        if self._problem:
            return InputResult.BAD
        self.source, self._sequences[sample.source_epoch] = sample.source, sample.sequence
        self._epochs.observe(sample.source_epoch, now_s)
        self._heard_s = now_s
        return self._engaged(sample, now_s) if sample.engaged else self._released()

    def _forget_silent(self, now_s: float) -> None:
        """Make room for another device; who was lost while driving keeps the place until a reset."""
        if self.deadman is DeadmanState.ON or now_s - self._heard_s <= self._forget_s:
            return
        self._epochs, self._sequences = EpochTracker(), {}
        if self.deadman is DeadmanState.OFF:
            self.source = ""

    def _engaged(self, sample: TakeoverSample, now_s: float) -> InputResult:
        if self.deadman is DeadmanState.LOST:
            return InputResult.IGNORED  # needs a release first
        begins = self.deadman is DeadmanState.OFF
        if begins or self.sample is None or not sample.still(self.sample):
            self._same_since_s = now_s
        self.deadman, self.sample = DeadmanState.ON, sample
        return InputResult.ENGAGED if begins else InputResult.DRIVING

    def _released(self) -> InputResult:
        was, self.deadman, self.sample = self.deadman, DeadmanState.OFF, None
        return InputResult.RELEASED if was is DeadmanState.ON else InputResult.IGNORED

    def lost(self, now_s: float) -> str:
        """Why the operator is lost, returned once; empty while the stream is fresh."""
        if self.deadman is not DeadmanState.ON:
            return ""
        why = ""
        if now_s - self._heard_s > self._timeout_s:
            age_s = now_s - self._heard_s
            what = f"silent for {age_s:.2f} s" if not self._problem else f"refused for {age_s:.2f} s ({self._problem})"
            why = f"{self.source} {what} while engaged"
        elif self._heard_s - self._same_since_s > self._stuck_s:
            why = f"{self.source}: axis stuck, the same velocity for {self._heard_s - self._same_since_s:.1f} s"
        if why:
            self.deadman = DeadmanState.LOST
        return why

    @property
    def command(self) -> TakeoverSample | None:
        """The newest message of who drives, None while nobody does."""
        return self.sample if self.deadman is DeadmanState.ON else None

    def is_behind(self, tick_ns: int) -> bool:
        """Whether somebody drives and has not yet answered a tick (ROS time)."""
        return self.command is not None and self.command.time_ns < tick_ns

    def drop(self) -> None:
        """The arm was stopped: who drives must release and engage anew."""
        if self.deadman is DeadmanState.ON:
            self.deadman = DeadmanState.LOST

    def let_go(self) -> None:
        """Silence while nothing moves counts as a release."""
        self.deadman, self.sample = DeadmanState.OFF, None

    def forget_source(self) -> None:
        """Take the next device that speaks; only while nobody drives."""
        if self.deadman is not DeadmanState.ON:
            self.deadman, self.sample, self.source = DeadmanState.OFF, None, ""
            self._epochs, self._sequences = EpochTracker(), {}


def wanted_pose(sample: TakeoverSample, commanded: Pose, dt_s: float, limits: MotionLimits) -> Pose:
    """TCP target of the next step, no further from the commanded pose than the takeover limits allow.

    Args:
        sample: Newest command of the operator.
        commanded: TCP pose of the last command.
        dt_s: Length of the step.
        limits: `tcp_velocity_m_s` and `tcp_rotation_rad_s`.
    """
    if sample.drive is TakeoverMode.VELOCITY:
        move, turn = sample.twist[:3] * dt_s, sample.twist[3:] * dt_s
    else:
        target = pose_from_seven(sample.tcp_target)
        move = target.position - commanded.position
        turn = rotation_vector(target.rotation @ commanded.rotation.T)
    move = _shortened(move, limits.tcp_velocity_m_s * dt_s)
    turn = _shortened(turn, limits.tcp_rotation_rad_s * dt_s)
    return Pose(commanded.position + move, rotation_matrix(turn) @ commanded.rotation)


def _shortened(vector: Array, longest: float) -> Array:
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)
