# SPDX-License-Identifier: Apache-2.0
"""The cell: clock, ticks and resets."""

from __future__ import annotations

import numpy as np
import pytest

from sim_bridge.core.commands import Trajectory
from sim_bridge.core.session import SimSession


@pytest.fixture(scope="module")
def cell() -> SimSession:
    """A cell that tests reset."""
    return SimSession("stack", 0, image_size=32, control_hz=20.0, with_expert=True)


def go_to(joints: np.ndarray, opening: float | None = None) -> Trajectory:
    """One target."""
    return Trajectory(np.zeros(1), joints[None], None if opening is None else np.array([opening]))


def test_when_stepped_expect_one_tick_of_the_clock(cell: SimSession) -> None:
    cell.reset("stack", 1)
    before, reset_id = cell.clock_ns, cell.reset_id
    for _ in range(3):
        cell.step(go_to(cell.world.command()[0]))
    assert cell.clock_ns - before == 3 * cell.tick_ns
    assert cell.ground_truth().tick == 3 and cell.ground_truth().reset_id == reset_id


def test_when_reset_expect_the_clock_to_go_on_and_the_ticks_to_start_again(cell: SimSession) -> None:
    before, reset_id = cell.clock_ns, cell.reset_id
    cell.reset("stack", 1)
    assert cell.clock_ns > before and cell.reset_id == reset_id + 1
    insight = cell.ground_truth()
    assert insight.tick == 0 and insight.seed == 1


def test_when_the_gripper_is_not_commanded_expect_its_last_command_kept(cell: SimSession) -> None:
    cell.reset("stack", 2)
    joints = cell.world.command()[0]
    cell.step(go_to(joints, 0.25))
    cell.step(go_to(joints))
    assert cell.world.command()[1] == pytest.approx(0.25)


def test_when_run_in_small_pieces_expect_a_trajectory_followed_in_simulated_time(cell: SimSession) -> None:
    cell.reset("stack", 3)
    start = cell.world.command()[0]
    cell.follow(Trajectory(np.array([0.5]), (start + 0.1)[None], None))
    for _ in range(25):
        cell.advance(5)  # 10 ms each
    assert cell.world.command()[0] == pytest.approx(start + 0.05)
    cell.hold()
    cell.advance(100)
    assert cell.world.command()[0] == pytest.approx(start + 0.05)


def test_when_asked_for_an_insight_expect_the_experts_aim_near_the_tcp(cell: SimSession) -> None:
    cell.reset("stack", 4)
    aim = cell.ground_truth().aim
    assert aim is not None
    assert 0.0 < np.linalg.norm(aim.pose.position - cell.world.tcp_pose().position) < 0.06


def test_when_the_task_changes_expect_another_world_and_the_first_kept(cell: SimSession) -> None:
    cell.reset("stack", 0)
    first = cell.world
    cell.reset("insert", 0)
    assert cell.world.task_name == "insert"
    cell.reset("stack", 0)
    assert cell.world is first
