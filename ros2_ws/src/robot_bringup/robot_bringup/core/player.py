# SPDX-License-Identifier: Apache-2.0
"""Joint targets of the next policy step: a step of a chunk, or an operator's command."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robot_bringup.core.cartesian import (
    Target,
    between,
    pose_from_seven,
    seven_from_pose,
    solve,
)
from robot_bringup.core.chunk import JOINT, Chunk
from robot_bringup.core.chunk_queue import ChunkStep
from robot_bringup.core.safety import Motion
from robot_bringup.core.takeover import TakeoverSample, wanted_pose
from whetstone_common.core.cartesian import displaced, displacement
from whetstone_common.core.enums import Actor
from whetstone_common.core.kinematics import Kinematics, Pose
from whetstone_common.core.robot import Robot
from whetstone_common.core.stamp import Stamp

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Planned:
    """One policy step before the limits.

    Attributes:
        target: Where it leads.
        actor: Who wants it.
        stamp: Request cycle that it belongs to.
        step: Index within its chunk, -1 when no chunk plays.
        ends: Whether the arm will hold after it.
    """

    target: Target
    actor: Actor
    stamp: Stamp
    step: int
    ends: bool = False


class Player:
    """Turns steps into joint targets, and commands back into actions.

    Args:
        robot: The robot.
        kinematics: Of its arm.
    """

    def __init__(self, robot: Robot, kinematics: Kinematics) -> None:
        self._robot = robot
        self._kinematics = kinematics
        self._reference: Pose | Array = np.zeros(0)

    def tcp(self, joints: Array) -> Array:
        """(3,) TCP position of joints (n,)."""
        return self._kinematics.fk(joints).position

    def refer_to_chunk(self, chunk: Chunk) -> None:
        """Express actions relative to the reference of a chunk from now on."""
        self._reference = chunk.reference if chunk.space == JOINT else pose_from_seven(chunk.reference)

    def refer_to_joints(self, joints: Array, space: str) -> None:
        """Express actions relative to measured joints (n,): before the first chunk of an episode."""
        self._reference = joints if space == JOINT else self._kinematics.fk(joints)

    def policy_step(self, step: ChunkStep, last: Motion) -> Planned:
        """A step of a chunk, faded from the chunk before.

        Raises:
            UnreachableError: The arm cannot get there.
        """
        chunk = step.chunk
        opening = float(chunk.actions[step.index, -1])
        if chunk.space == JOINT:
            joints = self._faded_joints(step)
        else:
            joints = solve(self._kinematics, last.position, self._faded_pose(step), self._robot.home)
        return Planned(Target(joints, opening), Actor.POLICY, chunk.stamp, step.index, step.ends)

    def human_step(self, sample: TakeoverSample, last: Motion, dt_s: float, stamp: Stamp) -> Planned:
        """The next step as an operator commands it.

        Raises:
            UnreachableError: The arm cannot get there.
        """
        commanded = self._kinematics.fk(last.position)
        pose = wanted_pose(sample, commanded, dt_s, self._robot.limits)
        joints = solve(self._kinematics, last.position, pose, self._robot.home)
        opening = last.opening if np.isnan(sample.opening) else float(np.clip(sample.opening, 0.0, 1.0))
        return Planned(Target(joints, opening), Actor.HUMAN, stamp, -1)

    def action(self, motion: Motion) -> Array:
        """(A,) the action that a command amounts to, relative to the current reference."""
        if isinstance(self._reference, Pose):
            moved = displacement(self._reference, self._kinematics.fk(motion.position))
        else:
            moved = motion.position - self._reference
        return np.append(moved, motion.opening)

    def tcp_target(self, motion: Motion) -> Array:
        """(7,) commanded pose."""
        return seven_from_pose(self._kinematics.fk(motion.position))

    def _faded_pose(self, step: ChunkStep) -> Pose:
        pose = displaced(pose_from_seven(step.chunk.reference), step.chunk.actions[step.index])
        if step.old is None:
            return pose
        old = displaced(pose_from_seven(step.old.reference), step.old.actions[step.old_index])
        return between(old, pose, step.weight)

    def _faded_joints(self, step: ChunkStep) -> Array:
        joints: Array = step.chunk.reference + step.chunk.actions[step.index, :-1]
        if step.old is None:
            return joints
        old = step.old.reference + step.old.actions[step.old_index, :-1]
        return np.asarray(old + step.weight * (joints - old))
