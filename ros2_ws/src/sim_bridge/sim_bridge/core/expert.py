# SPDX-License-Identifier: Apache-2.0
"""Scripted expert with access to the ground truth; it can start from any state.

At each tick it reads the state and commands a short TCP motion; there is no recorded path. Therefore it can
take over from a policy within an episode, and retries a failed grasp. The arm follows a command with a
lag, so the distance commanded ahead of the measured pose is what sets the speed.

A policy can imitate only what its images show. Therefore the expert turns the hand only where the wrist camera shows
the yaw of the object or the goal, and stays above until it is aligned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from sim_bridge.core.tasks import Task
from sim_bridge.core.truth import Sense, Truth
from whetstone_common.core.kinematics import Kinematics, Pose, rotation_matrix, rotation_vector

Array = npt.NDArray[np.float64]

AHEAD_M = 0.05  # commanded ahead of the measured position at most
AHEAD_DOWN_M = 0.03  # the same downwards
AHEAD_CHANGE_M = 0.02  # per tick, limits the acceleration of the arm
AHEAD_RAD = 0.25
APPROACH_M = 0.08  # height above the grasp while away from it
FUNNEL_SLOPE = 3.0  # rise of the wanted height per metre of horizontal error
FUNNEL_FREE_M = 0.005  # horizontal error that needs no additional height
SEEN_M = 0.04  # horizontal distance within which the wrist camera shows a turn well enough to act on it
RISE_FIRST_M = (0.01, 0.04)  # too low by this: start to slow the horizontal motion, stop it
GRASP_XY_M, GRASP_Z_M, GRASP_YAW_RAD = 0.006, 0.006, 0.12
CLOSE_TICKS = 9
RELEASE_XY_M, RELEASE_Z_M, RELEASE_YAW_RAD = 0.005, 0.004, 0.08
OPEN_ENOUGH = 0.85
DOWN = np.diag([1.0, -1.0, -1.0])  # tool pointing down, its x along the base's x


class ExpertPhase(Enum):
    """Phase of the expert's motion."""

    REACH = "reach"
    CLOSE = "close"
    CARRY = "carry"
    RELEASE = "release"
    RETREAT = "retreat"


@dataclass(frozen=True, eq=False)
class ExpertTarget:
    """Target of this tick.

    Attributes:
        pose: TCP target in the base frame.
        opening: Gripper target, 1 open, 0 closed.
        phase: Phase that the target belongs to.
    """

    pose: Pose
    opening: float
    phase: ExpertPhase


@dataclass(frozen=True, eq=False)
class ExpertCommand(ExpertTarget):
    """A target with its joint positions.

    Attributes:
        joint_targets: (7,) rad that reach `pose` with the TCP.
    """

    joint_targets: Array


class Expert:
    """The expert for an arm that takes joint targets.

    Args:
        task: The task.
        kinematics: Of the arm that is commanded.
        home_rad: (n,) posture for the redundant joints.
    """

    def __init__(self, task: Task, kinematics: Kinematics, home_rad: npt.ArrayLike) -> None:
        self._pilot = ExpertController(task)
        self._kinematics = kinematics
        self._home = np.asarray(home_rad, dtype=np.float64)
        self._joints: Array | None = None

    def reset(self) -> None:
        """Reset the state to the start of an episode."""
        self._pilot.reset()
        self._joints = None

    def act(self, sense: Sense) -> ExpertCommand:
        """Command for the tick after `sense`."""
        aim = self._pilot.aim(sense)
        start = sense.joints if self._joints is None else self._joints
        self._joints = self._kinematics.ik(start, aim.pose, posture=self._home)
        return ExpertCommand(aim.pose, aim.opening, aim.phase, self._joints)


class ExpertController:
    """The expert in Cartesian space.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self.reset()

    def reset(self) -> None:
        """Reset the state to the start of an episode."""
        self._closing = 0
        self._hold: Pose | None = None
        self._ahead: Array = np.zeros(3)

    def aim(self, sense: Sense) -> ExpertTarget:
        """Target of the tick after `sense`."""
        phase = self._phase(sense)
        if phase is not ExpertPhase.CLOSE:
            self._closing, self._hold = 0, None
        pose, opening = {
            ExpertPhase.REACH: self._reach,
            ExpertPhase.CLOSE: self._close,
            ExpertPhase.CARRY: self._carry,
            ExpertPhase.RELEASE: self._release,
            ExpertPhase.RETREAT: self._retreat,
        }[phase](sense)
        return ExpertTarget(pose, opening, phase)

    # -- what to do ---------------------------------------------------------------------------------------------

    def _phase(self, sense: Sense) -> ExpertPhase:
        truth = sense.truth
        error = truth.object_position - truth.goal_position
        placed = self._placed(truth, error)
        if placed and truth.touched:
            return ExpertPhase.RELEASE
        if placed or truth.success:
            return ExpertPhase.RETREAT
        if truth.grasped and sense.opening < OPEN_ENOUGH and self._closing in (0, CLOSE_TICKS):
            return ExpertPhase.CARRY
        if 0 < self._closing < CLOSE_TICKS or self._at_grasp(sense):
            return ExpertPhase.CLOSE
        return ExpertPhase.REACH

    def _placed(self, truth: Truth, error: Array) -> bool:
        yaw_error = abs(quarter_turn(truth.goal_yaw_rad - truth.object_yaw_rad)) if self._task.aligns_yaw else 0.0
        return bool(
            math.hypot(error[0], error[1]) < RELEASE_XY_M and error[2] < RELEASE_Z_M and yaw_error < RELEASE_YAW_RAD
        )

    def _at_grasp(self, sense: Sense) -> bool:
        grasp = self._grasp_pose(sense)
        error = sense.tcp.position - grasp.position
        return bool(
            math.hypot(error[0], error[1]) < GRASP_XY_M
            and abs(error[2]) < GRASP_Z_M
            and sense.tcp.angle_rad(grasp) < GRASP_YAW_RAD
        )

    # -- how ------------------------------------------------------------------------------------------------------

    def _reach(self, sense: Sense) -> tuple[Pose, float]:
        grasp = self._grasp_pose(sense)
        away = grasp.position - sense.tcp.position
        if math.hypot(away[0], away[1]) > SEEN_M:
            grasp = Pose(grasp.position, upright(sense.tcp.rotation))
        return self._funnel(sense, grasp, APPROACH_M), 1.0

    def _close(self, sense: Sense) -> tuple[Pose, float]:
        if self._hold is None:
            self._hold = self._grasp_pose(sense)
        self._closing += 1
        self._ahead = np.zeros(3)
        return self._hold, 0.0

    def _carry(self, sense: Sense) -> tuple[Pose, float]:
        truth = sense.truth
        away = truth.goal_position - truth.object_position
        turn = 0.0
        if self._task.aligns_yaw and math.hypot(away[0], away[1]) < SEEN_M:
            turn = quarter_turn(truth.goal_yaw_rad - truth.object_yaw_rad)
        rotation = rotation_matrix(np.array([0.0, 0.0, turn])) @ upright(sense.tcp.rotation)
        return self._funnel(sense, Pose(sense.tcp.position + away, rotation), self._task.clearance_m), 0.0

    def _release(self, sense: Sense) -> tuple[Pose, float]:
        self._ahead = np.zeros(3)
        return Pose(sense.tcp.position.copy(), upright(sense.tcp.rotation)), 1.0

    def _retreat(self, sense: Sense) -> tuple[Pose, float]:
        up = sense.truth.goal_position + np.array([0.0, 0.0, self._task.grasp_offset_z_m + 0.12])
        return self._towards(sense, Pose(up, upright(sense.tcp.rotation)), 1.0), 1.0

    def _grasp_pose(self, sense: Sense) -> Pose:
        truth = sense.truth
        position = truth.object_position + np.array([0.0, 0.0, self._task.grasp_offset_z_m])
        flat = upright(sense.tcp.rotation)
        turn = quarter_turn(truth.object_yaw_rad - yaw_of(flat))
        return Pose(position, rotation_matrix(np.array([0.0, 0.0, turn])) @ flat)

    def _funnel(self, sense: Sense, end: Pose, height_m: float) -> Pose:
        """Waypoint towards `end`: up before sideways; its height grows with the horizontal distance."""
        away = end.position - sense.tcp.position
        turn = sense.tcp.angle_rad(end)
        off = math.hypot(away[0], away[1]) + 0.05 * turn
        wanted = end.position[2] + min(height_m, FUNNEL_SLOPE * max(0.0, off - FUNNEL_FREE_M))
        low = wanted - sense.tcp.position[2]
        start, stop = RISE_FIRST_M
        sideways = 1.0 - min(1.0, max(0.0, (low - start) / (stop - start)))
        waypoint = np.array([end.position[0], end.position[1], wanted])
        return self._towards(sense, Pose(waypoint, end.rotation), sideways)

    def _towards(self, sense: Sense, waypoint: Pose, sideways: float) -> Pose:
        ahead = waypoint.position - sense.tcp.position
        ahead[:2] *= sideways
        ahead *= min(1.0, AHEAD_M / max(1e-9, float(np.linalg.norm(ahead))))
        ahead[2] = max(ahead[2], -AHEAD_DOWN_M)
        change = ahead - self._ahead
        change *= min(1.0, AHEAD_CHANGE_M / max(1e-9, float(np.linalg.norm(change))))
        self._ahead = self._ahead + change
        turn = rotation_vector(waypoint.rotation @ sense.tcp.rotation.T)
        turn *= min(1.0, AHEAD_RAD / max(1e-9, float(np.linalg.norm(turn))))
        return Pose(sense.tcp.position + self._ahead, rotation_matrix(turn) @ sense.tcp.rotation)


def quarter_turn(angle_rad: float) -> float:
    """Equivalent rotation of smallest angle for an object with a symmetry of 90 degrees."""
    return (angle_rad + math.pi / 4) % (math.pi / 2) - math.pi / 4


def yaw_of(rotation: Array) -> float:
    """Turn about the vertical (rad) of a tool that points down, zero for `DOWN`."""
    return math.atan2(rotation[1, 0], rotation[0, 0])


def upright(rotation: Array) -> Array:
    """The orientation nearest to (3, 3) `rotation` whose tool points straight down."""
    yaw = rotation_matrix(np.array([0.0, 0.0, yaw_of(rotation)]))
    flat: Array = yaw @ DOWN
    return flat
