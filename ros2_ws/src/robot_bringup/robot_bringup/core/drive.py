# SPDX-License-Identifier: Apache-2.0
"""From planned steps to commands: interpolation, limits, hold ramp, and the record of each step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from robot_bringup.core.cartesian import Target
from robot_bringup.core.interpolate import LastSegment, MotionSegment
from robot_bringup.core.outputs import ArmCommand, ExecutedOut
from robot_bringup.core.player import Planned, Player
from robot_bringup.core.safety import Limited, LimitVerdict, Motion, brake, limit, too_far
from whetstone_common.core.enums import Actor
from whetstone_common.core.robot import Robot
from whetstone_common.core.robot_joints import JointSample
from whetstone_common.core.stamp import Stamp

Array = npt.NDArray[np.float64]

# A step whose end was reached this closely was not changed by a limit, however its beginning was smoothed.
_LIMITED_RAD = 1e-3


@dataclass(frozen=True, eq=False)
class _DrivenStep:
    """The step in progress."""

    planned: Planned
    segment: MotionSegment
    episode_step: int
    time_ns: int
    refused: bool = False


class MotionDrive:
    """The command side of the arm.

    Args:
        robot: The robot.
        player: For forward kinematics and actions.
        control_dt_s: Seconds between two commands.
        step_s: Seconds that a step is spread over; 0 when one command is one step.
    """

    def __init__(self, robot: Robot, player: Player, *, control_dt_s: float, step_s: float) -> None:
        self._limits = robot.limits
        self._human_limits = robot.limits.for_human()
        self._player = player
        self._control_dt_s = control_dt_s
        self._step_s = step_s
        self._playing: _DrivenStep | None = None
        self._ended_s: float | None = None
        self._is_cut = False
        self.motion: Motion | None = None

    @property
    def last(self) -> Motion:
        """The last command; `start` has been called."""
        assert self.motion is not None  # noqa: S101 - a programming error, not an input
        return self.motion

    @property
    def playing(self) -> bool:
        """Whether a step is in progress."""
        return self._playing is not None

    def rest(self) -> None:
        """Nothing was sent for so long that the arm stands at the last command."""
        if self.motion is not None:
            self.motion = replace(self.motion, velocity=np.zeros_like(self.motion.velocity))

    def cut(self) -> None:
        """End the step in progress early: the next one is due at once."""
        self._is_cut = True

    @property
    def step_end_s(self) -> float | None:
        """When the step in progress ends (steady clock), None when none is."""
        segment = None if self._playing is None else self._playing.segment
        return None if segment is None else segment.start_s + segment.duration_s

    def start(self, motion: Motion) -> None:
        """Count commands from a motion at rest."""
        self.motion, self._playing, self._ended_s = motion, None, None

    def due(self, now_s: float) -> bool:
        """Whether the step in progress has ended, give or take half a control period."""
        return self._is_cut or self._playing is None or self._playing.segment.done(now_s + self._control_dt_s / 2.0)

    def too_far(self, planned: Planned) -> bool:
        """Whether a step of the policy leads further than its duration allows."""
        duration_s = max(self._step_s, self._control_dt_s)
        return planned.actor is Actor.POLICY and too_far(planned.target.joints, self.last, self._limits, duration_s)

    def begin(self, planned: Planned, now_s: float, *, episode_step: int, time_ns: int) -> None:
        """Begin a step; the one before has been finished."""
        start = Target(self.last.position, self.last.opening)
        begin_s = now_s
        if self._ended_s is not None and abs(now_s - self._ended_s) < self._control_dt_s:
            begin_s = self._ended_s  # seamless: rounding to control periods must not add up
        if planned.ends:
            segment: MotionSegment = LastSegment(start, planned.target, begin_s, 2.0 * self._step_s)
        else:
            segment = MotionSegment(start, planned.target, begin_s, self._step_s)
        self._playing = _DrivenStep(planned, segment, episode_step, time_ns)

    def advance(self, now_s: float) -> tuple[ArmCommand, Limited | None]:
        """The next command of the step in progress, or of the hold ramp when there is none."""
        playing = self._playing
        if playing is None:
            self.motion = brake(self.last, self._limits, self._control_dt_s)
            return ArmCommand(self.motion, Actor.HOLD, Stamp(0, 0, 0), -1), None
        actor = playing.planned.actor
        setpoint = playing.segment.at(now_s + self._control_dt_s)
        limits = self._human_limits if actor is Actor.HUMAN else self._limits
        limited = limit(setpoint.joints, setpoint.opening, self.last, limits, self._control_dt_s, self._player.tcp)
        self.motion = limited.motion
        refused = limited.verdict in (LimitVerdict.REFUSED, LimitVerdict.NOT_FINITE)
        self._playing = replace(playing, refused=playing.refused or refused)
        source = Actor.HOLD if refused else actor
        return ArmCommand(self.motion, source, playing.planned.stamp, playing.planned.step), limited

    def _off(self, target: Target) -> float:
        """How far the last command is from a target (rad)."""
        return float(np.abs(self.last.position - target.joints).max())

    def finish(self, sample: JointSample) -> ExecutedOut | None:
        """End the step in progress and tell what became of it."""
        playing, self._playing = self._playing, None
        is_cut, self._is_cut = self._is_cut, False
        if playing is None or self.motion is None:
            self._ended_s = None
            return None
        self._ended_s = None if is_cut else playing.segment.start_s + playing.segment.duration_s
        return ExecutedOut(
            stamp=playing.planned.stamp,
            step=max(0, playing.planned.step),
            episode_step=playing.episode_step,
            time_ns=playing.time_ns,
            actor=Actor.HOLD if playing.refused else playing.planned.actor,
            limited=playing.refused or self._off(playing.planned.target) > _LIMITED_RAD,
            joint_command=np.append(self.motion.position, self.motion.opening),
            joint_positions=np.append(sample.positions, sample.opening),
            action=self._player.action(self.motion),
            tcp_target=self._player.tcp_target(self.motion),
        )
