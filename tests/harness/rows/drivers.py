# SPDX-License-Identifier: Apache-2.0
"""Rows of drivers that are not ours: joint states in parts, and two drivers of one arm."""

from __future__ import annotations

from harness.armlog import POLICY
from harness.cells import OPEN_LOOP_S, ring_cell
from harness.oracle import Verdict, judge_reason
from harness.rows.case import Case, always, check, now_ns, statuses, total, watch_for
from harness.world import World

_JOINT_TIMEOUT_S = 0.2
# Two publishers are told apart as soon as both have spoken; what is sent meanwhile stands on the first one's word.
_SECOND_S = 0.1
_OFFSET_RAD = 0.3


def split_joints(world: World, seed: int, mutation: str) -> Verdict:
    """Row 85: the gripper gets a driver of its own and nothing changes; it dies, and the arm stops with its name."""
    cell = ring_cell(world, mutations={"arm_node": mutation, "observation_node": mutation})
    cell.run()
    world.watcher.tell("fake_arm", split=True)
    split_ns = now_ns()
    watch_for(1.5)
    moved = [c for c in cell.policy_commands_after(split_ns) if c.source == POLICY]
    verdict = check(len(moved) > 50, f"joint states in parts: {len(moved)} commands in 1.5 s") + always(cell)
    if verdict.problems:
        return verdict
    cell.wait_random_moment(seed)
    world.watcher.tell("fake_arm", gripper_silent=True)
    fault_ns = now_ns()
    watch_for(1.5)
    verdict += cell.judge_stop(fault_ns, open_loop_s=_JOINT_TIMEOUT_S + OPEN_LOOP_S) + always(cell)
    verdict += judge_reason(
        statuses(cell), "arm_node", "JOINT_STATE_LOST", fault_ns, detail="panda_gripper", within_s=1.0, allowance=1.0
    )
    return verdict


def second_driver(world: World, seed: int, mutation: str) -> Verdict:
    """Row 86: a second node publishes the same joints, elsewhere; the arm stops and both are named."""
    cell = ring_cell(world, mutations={"arm_node": mutation, "observation_node": mutation})
    cell.parts["second_arm"] = world.fake(
        "fake_arm",
        name="second_arm",
        parameters={"silent": True, "reading_offset_rad": _OFFSET_RAD},
        remap={"arm_controller/joint_trajectory": "nowhere"},
    )
    world.wait_ready("second_arm")
    cell.run()
    cell.wait_random_moment(seed)
    world.watcher.tell("second_arm", silent=False)
    fault_ns = now_ns()
    watch_for(1.5)
    verdicts = [cell.judge_stop(fault_ns, open_loop_s=_SECOND_S), always(cell)]
    for name in ("/fake_arm", "/second_arm"):
        verdicts.append(
            judge_reason(
                statuses(cell), "arm_node", "SECOND_SOURCE", fault_ns, detail=name, within_s=1.0, allowance=1.0
            )
        )
    return total(verdicts)


CASES = (
    Case(
        "85",
        "joint states in parts",
        split_joints,
        ("parts_are_not_merged", "age_of_parts_is_ignored"),
    ),
    Case("86", "second driver of the same joints", second_driver, ("any_driver_is_believed",)),
)
