# SPDX-License-Identifier: Apache-2.0
"""A person takes over: who drives, when is the person lost, and what do they want.

A lost person is not a release: the arm holds and stays held until the same device is released and engaged anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from robot_bringup.core.cartesian import pose_from_seven
from robot_bringup.core.robot import Limits
from whetstone_common.core.kinematics import Pose, rotation_matrix, rotation_vector

Array = npt.NDArray[np.float64]


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

    IGNORED = "ignored"  # old, or of no consequence
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
        opening: Gripper, NaN leaves it as it is.
        time_ns: ROS time.
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
        """Why the sample may not drive; empty when it may. NaN is allowed as opening and nowhere else."""
        if not self.engaged:
            return ""
        if self.drive is Drive.VELOCITY:
            return "" if np.isfinite(self.twist).all() else f"twist {self.twist} is not finite"
        try:
            pose_from_seven(self.tcp_target)
        except ValueError as error:
            return str(error)
        return "" if not np.isinf(self.opening) else "opening is not finite"

    def still(self, other: TakeoverSample) -> bool:
        """Whether both ask for exactly the same motion, and for motion at all."""
        same = self.drive is other.drive is Drive.VELOCITY and np.array_equal(self.twist, other.twist)
        return bool(same and np.any(self.twist))


class Takeover:
    """Which person drives.

    Args:
        timeout_s: Silence while engaged after which the person is lost.
        stuck_s: A velocity that stays exactly the same for this long is a stuck axis.
    """

    def __init__(self, timeout_s: float, stuck_s: float) -> None:
        self._timeout_s = timeout_s
        self._stuck_s = stuck_s
        self.hand = Hand.OFF
        self.sample: TakeoverSample | None = None
        self.source = ""
        self._epoch = 0
        self._sequence = -1
        self._heard_s = 0.0
        self._same_since_s = 0.0

    def hear(self, sample: TakeoverSample, now_s: float) -> Heard:
        """Take a message in."""
        if self.source and sample.source != self.source:
            return Heard.SECOND_SOURCE
        if not self._newer(sample):
            return Heard.IGNORED
        if sample.source_epoch != self._epoch and self.hand is Hand.ON:
            return Heard.SECOND_SOURCE  # two processes of one name at once
        if sample.problem():
            return Heard.BAD
        self.source, self._epoch, self._sequence = sample.source, sample.source_epoch, sample.sequence
        return self._engaged(sample, now_s) if sample.engaged else self._released()

    def _newer(self, sample: TakeoverSample) -> bool:
        return (sample.source_epoch, sample.sequence) > (self._epoch, self._sequence)

    def _engaged(self, sample: TakeoverSample, now_s: float) -> Heard:
        if self.hand is Hand.LOST:
            return Heard.IGNORED  # needs a release first
        begins = self.hand is Hand.OFF
        if begins or self.sample is None or not sample.still(self.sample):
            self._same_since_s = now_s
        self.hand, self.sample, self._heard_s = Hand.ON, sample, now_s
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
            self._epoch, self._sequence = 0, -1


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
