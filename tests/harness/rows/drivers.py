# SPDX-License-Identifier: Apache-2.0
"""Rows of drivers and devices that are not ours: joint states in parts, two drivers of one arm, strange takeovers."""

from __future__ import annotations

import math
import random

from harness.armlog import HUMAN, POLICY, after
from harness.cells import OPEN_LOOP_S, arm_cell, ring_cell
from harness.oracle import Verdict, judge_reason
from harness.rows.case import Case, always, check, now_ns, statuses, total, watch_for
from harness.rows.inputs import FRONT, IMAGE, relay_of, strike
from harness.schedule import Fault
from harness.world import World

_JOINT_TIMEOUT_S = 0.2
# Two publishers are told apart as soon as both have spoken; what is sent meanwhile stands on the first one's word.
_SECOND_S = 0.1
_OFFSET_RAD = 0.3
_FORGET_S = 1.5


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


_TWIST = [0.03, 0.0, 0.0, 0.0, 0.0, 0.0]
_STRANGE: tuple[dict[str, object], ...] = (
    {"gripper": math.inf},
    {"gripper": 50.0},
    {"gripper": -3.0},
    {"twist": [1e9, 0.0, 1e9, 0.0, 0.0, 0.0]},
    {"twist": [math.nan, 0.0, 0.0, 0.0, 0.0, 0.0]},
    {"mode": 7},
    {"shift_s": -3600.0},
)
_SANE = {"gripper": math.nan, "twist": _TWIST, "mode": 0, "shift_s": 0.0}


def strange_takeover(world: World, seed: int, mutation: str) -> Verdict:
    """Row 87: numbers that no hand can mean are refused and counted; the policy goes on, and the hand works after."""
    cell = arm_cell(world, mutation=mutation, arm={"chunk_timeout_s": 4.0})
    world.fake("fake_teleop", parameters={"twist": _TWIST})
    world.wait_ready("fake_teleop")
    cell.run()
    verdict = Verdict()
    for strange in random.Random(seed).sample(_STRANGE, len(_STRANGE)):  # noqa: S311
        begun_ns = now_ns()
        refused = world.watcher.latest("arm_node").counters.get("takeover_refused", 0)
        world.watcher.tell("fake_teleop", **strange)
        world.watcher.tell("fake_teleop", engaged=True)
        watch_for(0.6)
        world.watcher.tell("fake_teleop", engaged=False)
        world.watcher.tell("fake_teleop", **_SANE)
        driven = [c for c in after(cell.commands(), begun_ns) if c.source == HUMAN]
        counted = world.watcher.latest("arm_node").counters.get("takeover_refused", 0) - refused
        verdict += check(not driven, f"{strange}: {len(driven)} commands of it") + always(cell)
        verdict += check(counted > 5, f"{strange}: {counted} refusals counted")
        if verdict.problems:
            return verdict
    cell.wait_moving()
    world.watcher.tell("fake_teleop", engaged=True)
    cell.wait_moving(HUMAN)
    world.watcher.tell("fake_teleop", engaged=False)
    return verdict + always(cell)


def device_is_gone(world: World, seed: int, mutation: str) -> Verdict:
    """Row 88: a device that has let go is killed, and another one drives after a while; not before."""
    cell = arm_cell(world, mutation=mutation, arm={"chunk_timeout_s": 4.0, "takeover_forget_s": _FORGET_S})
    first = world.fake("fake_teleop", parameters={"twist": _TWIST})
    world.fake("fake_teleop", name="second_teleop", parameters={"twist": _TWIST})
    world.wait_ready("fake_teleop", "second_teleop")
    cell.run()
    world.watcher.tell("fake_teleop", engaged=True)
    cell.wait_moving(HUMAN)
    world.watcher.tell("fake_teleop", engaged=False)
    cell.wait_moving()
    fault_ns = first.kill9()
    world.watcher.tell("second_teleop", engaged=True)
    watch_for(0.4 * _FORGET_S)
    early = [c for c in after(cell.commands(), fault_ns) if c.source == HUMAN]
    watch_for(1.6 * _FORGET_S)
    late = [c for c in after(cell.commands(), fault_ns) if c.source == HUMAN]
    return (
        check(not early, f"{len(early)} commands of the second device while the first had its place")
        + check(late, f"the second device does not drive {2.0 * _FORGET_S:g} s after the first has gone")
        + always(cell)
    )


def other_clock(world: World, seed: int, mutation: str) -> Verdict:
    """Row 89: a camera goes over to another clock; the arm holds, and it is said that it is the clock."""
    cell = ring_cell(world, mutations={"observation_node": mutation}, relays={FRONT: IMAGE})
    cell.run()
    shift_s = random.Random(seed).choice((-3600.0, 3600.0, -1.7e9))  # noqa: S311
    fault = Fault("restamp", shift_s=shift_s, field="header.stamp")
    return strike(
        cell, relay_of(FRONT), fault, reasons=("OTHER_CLOCK",), detail="front: stamps are", allowed_s=0.6, reason_s=1.5
    )


CASES = (
    Case(
        "85",
        "joint states in parts",
        split_joints,
        ("parts_are_not_merged", "age_of_parts_is_ignored"),
    ),
    Case("86", "second driver of the same joints", second_driver, ("any_driver_is_believed",)),
    Case("87", "takeover with strange numbers", strange_takeover, ("takeovers_are_believed",)),
    Case("88", "takeover device that has gone", device_is_gone, ("devices_are_never_forgotten",)),
    Case("89", "camera on another clock", other_clock, ("clocks_are_not_compared",)),
)
