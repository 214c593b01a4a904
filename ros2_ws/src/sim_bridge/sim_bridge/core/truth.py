# SPDX-License-Identifier: Apache-2.0
"""Ground truth of the simulation: state and progress of the instructed pair."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from sim_bridge.core.tasks import PairState
from whetstone_common.core.kinematics import Pose

Array = npt.NDArray[np.float64]

OVER_GOAL_M = 0.02
LIFTED_M = 0.02
REACH_SHARE, CARRY_SHARE = 0.3, 0.6  # of the progress before success; success is 1
PROGRESS_SCALE_M = 0.1


class Stage(IntEnum):
    """Stage of the instructed pair."""

    REACH = 0
    GRASPED = 1
    CARRIED = 2
    OVER_GOAL = 3
    DONE = 4


@dataclass(frozen=True, eq=False)
class Truth:
    """Ground truth. Positions (3,) m in the base frame.

    Attributes:
        task: Name of the task.
        instruction: Instruction that the policy receives.
        true_instruction: Instruction of the pair sampled at reset, which success refers to.
        success: Whether that pair is done at this tick.
        stage: Stage of the pair.
        progress: Progress from 0 to 1.
        object_position: Centre of the instructed object.
        goal_position: Target position of its centre.
        object_yaw_rad: Yaw of the object.
        goal_yaw_rad: Yaw of the goal.
        grasped: Whether both fingers touch the object.
        touched: Whether any part of the robot touches the object.
    """

    task: str
    instruction: str
    true_instruction: str
    success: bool
    stage: Stage
    progress: float
    object_position: Array
    goal_position: Array
    object_yaw_rad: float
    goal_yaw_rad: float
    grasped: bool
    touched: bool


@dataclass(frozen=True, eq=False)
class Sense:
    """Robot state and ground truth, the input of the scripted expert.

    Attributes:
        tcp: Measured TCP pose.
        joints: (7,) rad measured.
        opening: Gripper opening, 1 open, 0 closed.
        truth: State of the instructed pair.
    """

    tcp: Pose
    joints: Array
    opening: float
    truth: Truth


@dataclass(frozen=True, eq=False)
class BodyState:
    """Pose of a task body.

    Attributes:
        position: (3,) m of its origin in the base frame.
        yaw_rad: Yaw of its most horizontal axis; with a symmetry of 90 degrees all axes are equivalent.
        upright: Absolute cosine between its z axis and the vertical: 1 upright or upside down, 0 lying.
        grasped: Whether both fingers touch it.
    """

    position: Array
    yaw_rad: float
    upright: float
    grasped: bool


def stage_of(pair: PairState, lift_m: float, *, grasped: bool, done: bool) -> Stage:
    """Stage of a pair.

    Args:
        pair: Its state.
        lift_m: Height of the object above where it started.
        grasped: Whether both fingers touch the object.
        done: Whether the task's own predicate holds.
    """
    if done:
        return Stage.DONE
    if not grasped:
        return Stage.REACH
    if pair.error_xy_m < OVER_GOAL_M:
        return Stage.OVER_GOAL
    return Stage.CARRIED if lift_m > LIFTED_M else Stage.GRASPED


def progress_of(stage: Stage, pair: PairState, reach_m: float) -> float:
    """Progress from 0 to 1: grows as the TCP nears the object (`reach_m`), then as the object nears its goal."""
    if stage is Stage.DONE:
        return 1.0
    if stage is Stage.REACH:
        return REACH_SHARE * math.exp(-reach_m / PROGRESS_SCALE_M)
    return REACH_SHARE + CARRY_SHARE * math.exp(-float(np.linalg.norm(pair.error)) / PROGRESS_SCALE_M)
