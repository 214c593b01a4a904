# SPDX-License-Identifier: Apache-2.0
"""A person takes over: who drives, when is the person lost, and what do they want.

A lost person is not a release: the arm holds and stays held until the same device is released and engaged anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from robot_bringup.core.cartesian import pose_from_seven
from robot_bringup.core.robot import Limits
from whetstone_common.core.epochs import EpochTracker
from whetstone_common.core.kinematics import Pose, rotation_matrix, rotation_vector

Array = npt.NDArray[np.float64]


# A leader arm's own gripper may read a little beyond its ends.
_LOWEST, _HIGHEST = -0.05, 1.05
# Beyond these a number is a mistake and no wish; wishes that are merely fast are slowed down to the limits.
_MAX_TWIST = np.array([10.0] * 3 + [50.0] * 3)
_MAX_TARGET_M = 10.0


class Drive(Enum):
    """What a takeover message commands."""

    VELOCITY = 0
    TCP_TARGET = 1


class Hand(Enum):
    """Where the person's hand is."""

    OFF = "off"
    ON = "on"
    LOST = "lost"  # vanished while on


class Heard(Enum):
    """What became of a takeover message."""

    IGNORED = "ignored"  # of no consequence
    OLD = "old"  # doubled, or from before the newest one
    ENGAGED = "engaged"  # a person has begun to drive
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
    drive: Drive
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
        return self._twist_problem() if self.drive is Drive.VELOCITY else self._target_problem()

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
        same = self.drive is other.drive is Drive.VELOCITY and np.array_equal(self.twist, other.twist)
        return bool(same and np.any(self.twist))


class Takeover:
    """Which person drives.

    Args:
        timeout_s: Silence while engaged after which the person is lost.
        stuck_s: A velocity that stays exactly the same for this long is a stuck axis.
        forget_s: A device that has let go and is silent for this long makes room for another, and one that starts anew
            under the same name may have any epoch.
    """

    def __init__(self, timeout_s: float, stuck_s: float, forget_s: float = 2.0) -> None:
        self._timeout_s = timeout_s
        self._stuck_s = stuck_s
        self._forget_s = forget_s
        self.hand = Hand.OFF
        self.sample: TakeoverSample | None = None
        self.source = ""
        self._epochs = EpochTracker()
        self._sequences: dict[int, int] = {}
        self._heard_s = -math.inf
        self._same_since_s = 0.0

    def hear(self, sample: TakeoverSample, now_s: float) -> Heard:
        """Take a message in."""
        self._forget_silent(now_s)
        if self.source and sample.source != self.source:
            return Heard.SECOND_SOURCE
        if sample.sequence <= self._sequences.get(sample.source_epoch, -1):
            return Heard.OLD
        if sample.source_epoch != self._epochs.followed and self.hand is Hand.ON:
            return Heard.SECOND_SOURCE  # two processes of one name at once
        if not self._epochs.counts(sample.source_epoch, now_s):
            return Heard.OLD  # the process before has only just spoken
        if sample.problem():
            return Heard.BAD
        self.source, self._sequences[sample.source_epoch] = sample.source, sample.sequence
        self._epochs.hear(sample.source_epoch, now_s)
        self._heard_s = now_s
        return self._engaged(sample, now_s) if sample.engaged else self._released()

    def _forget_silent(self, now_s: float) -> None:
        """Make room for another device; who was lost while driving keeps the place until a reset."""
        if self.hand is Hand.ON or now_s - self._heard_s <= self._forget_s:
            return
        self._epochs, self._sequences = EpochTracker(), {}
        if self.hand is Hand.OFF:
            self.source = ""

    def _engaged(self, sample: TakeoverSample, now_s: float) -> Heard:
        if self.hand is Hand.LOST:
            return Heard.IGNORED  # needs a release first
        begins = self.hand is Hand.OFF
        if begins or self.sample is None or not sample.still(self.sample):
            self._same_since_s = now_s
        self.hand, self.sample = Hand.ON, sample
        return Heard.ENGAGED if begins else Heard.DRIVING

    def _released(self) -> Heard:
        was, self.hand, self.sample = self.hand, Hand.OFF, None
        return Heard.RELEASED if was is Hand.ON else Heard.IGNORED

    def lost(self, now_s: float) -> str:
        """Why the person must be considered lost, told once; empty when all is well."""
        if self.hand is not Hand.ON:
            return ""
        why = ""
        if now_s - self._heard_s > self._timeout_s:
            why = f"{self.source} silent for {now_s - self._heard_s:.2f} s while engaged"
        elif self._heard_s - self._same_since_s > self._stuck_s:
            why = f"{self.source}: axis stuck, the same velocity for {self._heard_s - self._same_since_s:.1f} s"
        if why:
            self.hand = Hand.LOST
        return why

    def drop(self) -> None:
        """The arm was stopped: who drives must release and engage anew."""
        if self.hand is Hand.ON:
            self.hand = Hand.LOST

    def let_go(self) -> None:
        """Silence while nothing moves counts as a release."""
        self.hand, self.sample = Hand.OFF, None

    def forget_source(self) -> None:
        """Take the next device that speaks; only while nobody drives."""
        if self.hand is not Hand.ON:
            self.hand, self.sample, self.source = Hand.OFF, None, ""
            self._epochs, self._sequences = EpochTracker(), {}


def wanted_pose(sample: TakeoverSample, commanded: Pose, dt_s: float, limits: Limits) -> Pose:
    """TCP target of the next step, no further from the commanded pose than the limits for a person allow.

    Args:
        sample: What the person does.
        commanded: TCP pose of the last command.
        dt_s: Length of the step.
        limits: `tcp_velocity_m_s` and `tcp_rotation_rad_s`.
    """
    if sample.drive is Drive.VELOCITY:
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
