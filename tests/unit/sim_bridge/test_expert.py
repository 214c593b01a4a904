# SPDX-License-Identifier: Apache-2.0
"""The scripted expert: solves every task, and goes on from wherever it finds itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim_bridge.core.arm import PANDA
from sim_bridge.core.expert import SEEN_M, Expert, ExpertPhase, quarter_turn, upright, yaw_of
from sim_bridge.core.tasks import TASKS, get_task
from sim_bridge.core.world import World
from whetstone_common.core.kinematics import Kinematics

DESCRIPTION = Path(__file__).resolve().parents[3] / "ros2_ws" / "src" / "robot_bringup" / "description"
MAX_TICKS = 160


@pytest.fixture(scope="module")
def panda() -> Kinematics:
    """Kinematics from the shipped URDF."""
    xml = (DESCRIPTION / "panda.urdf").read_text(encoding="utf-8")
    return Kinematics.from_urdf(xml, "tcp", PANDA.ros_joints)


def solve(world: World, expert: Expert, ticks: int = MAX_TICKS) -> int:
    """Ticks until success; fails the test when there is none."""
    for tick in range(ticks):
        command = expert.act(world.sense())
        world.step(command.joint_targets, command.opening)
        if world.truth().success:
            return tick + 1
    raise AssertionError(f"no success within {ticks} ticks")


@pytest.mark.parametrize("task", TASKS)
def test_when_the_expert_acts_expect_success_within_five_seconds(task: str, panda: Kinematics) -> None:
    world, expert = World(task), Expert(get_task(task), panda, PANDA.home_rad)
    for seed in range(5):
        world.reset(seed)
        expert.reset()
        assert solve(world, expert) <= 100


@pytest.mark.parametrize("task", TASKS)
def test_when_object_and_goal_are_too_far_for_the_wrist_camera_expect_the_hand_not_turned(
    task: str, panda: Kinematics
) -> None:
    world, expert = World(task), Expert(get_task(task), panda, PANDA.home_rad)
    turned = {False: 0.0, True: 0.0}
    for seed in range(3):
        world.reset(seed)
        expert.reset()
        for _ in range(MAX_TICKS):
            sense = world.sense()
            command = expert.act(sense)
            end = {ExpertPhase.REACH: sense.tcp.position, ExpertPhase.CARRY: sense.truth.goal_position}.get(
                command.phase
            )
            if end is not None:
                turn = abs(yaw_of(upright(command.pose.rotation)) - yaw_of(upright(sense.tcp.rotation)))
                is_near = bool(np.linalg.norm((sense.truth.object_position - end)[:2]) <= SEEN_M)
                turned[is_near] = max(turned[is_near], turn)
            world.step(command.joint_targets, command.opening)
            if world.truth().success:
                break
    assert turned[False] < 0.01 < turned[True]


def test_when_someone_else_moved_the_arm_expect_the_expert_to_go_on_from_there(panda: Kinematics) -> None:
    world, expert = World("pick_place"), Expert(get_task("pick_place"), panda, PANDA.home_rad)
    rng = np.random.default_rng(0)
    for seed in range(3):
        world.reset(seed)
        target = np.array(PANDA.home_rad) + rng.uniform(-0.3, 0.3, 7)
        for _ in range(15):
            world.step(target, 0.0)  # closed on nothing, and away from home
        expert.reset()
        assert solve(world, expert) <= 120


def test_when_the_object_slips_away_in_a_grasp_expect_another_try(panda: Kinematics) -> None:
    world, expert = World("stack"), Expert(get_task("stack"), panda, PANDA.home_rad)
    world.reset(1)
    expert.reset()
    while not world.truth().grasped:
        command = expert.act(world.sense())
        world.step(command.joint_targets, command.opening)
    for _ in range(6):  # someone opens the gripper for a moment
        world.step(world.command()[0], 1.0)
    assert solve(world, expert) <= MAX_TICKS


def test_when_the_pair_is_done_expect_the_expert_to_leave_it_done(panda: Kinematics) -> None:
    world, expert = World("pick_place"), Expert(get_task("pick_place"), panda, PANDA.home_rad)
    world.reset(2)
    solve(world, expert)
    for _ in range(40):
        command = expert.act(world.sense())
        world.step(command.joint_targets, command.opening)
    assert world.truth().success
    assert world.tcp_pose().position[2] > 0.1


@pytest.mark.parametrize(
    ("angle", "turn"), [(0.1, 0.1), (1.6, 1.6 - np.pi / 2), (-1.0, np.pi / 2 - 1.0), (3.2, 3.2 - np.pi)]
)
def test_when_an_angle_has_a_quarter_symmetry_expect_the_smallest_turn(angle: float, turn: float) -> None:
    assert quarter_turn(angle) == pytest.approx(turn)
