# SPDX-License-Identifier: Apache-2.0
"""Rows of clocks and of orderly ends."""

from __future__ import annotations

import random

from harness.cells import Cell, arm_cell, write_robot
from harness.oracle import Verdict, judge_reason
from harness.record import ROOT
from harness.rows.case import Case, always, check, no_motion, now_ns, statuses, total, underrun_then_lost, watch_for
from harness.rows.chunks import stop_and_recover
from harness.world import World

_SIM_TIME = {"use_sim_time": True}
_EXIT_S = 10.0


def clocked_cell(world: World, mutation: str) -> Cell:
    """An arm cell on the time of fake_clock."""
    world.fake("fake_clock")
    world.wait_ready("fake_clock")
    cell = arm_cell(world, mutation=mutation, arm=_SIM_TIME, policy=_SIM_TIME, fake_arm=_SIM_TIME)
    cell.run()
    return cell


def clock_stops(world: World, seed: int, mutation: str) -> Verdict:
    """Row 18: with the simulated clock stopped, a lost policy still stops the arm in wall time."""
    cell = clocked_cell(world, mutation)
    world.watcher.tell("fake_clock", rate=0.0)
    cell.wait_random_moment(seed, 0.2)
    fault_ns = cell.parts["fake_policy"].kill9()
    return underrun_then_lost(cell, fault_ns)


def clock_jumps(world: World, seed: int, mutation: str) -> Verdict:
    """Row 18: ahead by 1,000 s, ten times as fast, a tenth as fast, and back by 500 s, which ends the episode."""
    cell = clocked_cell(world, mutation)
    verdicts = []
    for name, told in (("ahead", {"jump_s": 1000.0}), ("fast", {"rate": 10.0}), ("slow", {"rate": 0.1})):
        world.watcher.tell("fake_clock", **told)
        watch_for(1.0)
        kept = always(cell)
        verdicts.append(Verdict(tuple(f"{name}: {problem}" for problem in kept.problems), kept.numbers))
    world.watcher.tell("fake_clock", rate=1.0)
    if world.watcher.latest("arm_node").state == "STOPPED":
        stop_and_recover(cell)
        cell.resume()
    cell.wait_moving()
    world.watcher.tell("fake_clock", jump_s=-500.0)
    fault_ns = now_ns()
    watch_for(1.5)
    return (
        total(verdicts)
        + cell.judge_stop(fault_ns, open_loop_s=0.0)
        + judge_reason(statuses(cell), "arm_node", "CLOCK_JUMP", fault_ns)
        + no_motion(cell, fault_ns + 500_000_000, "motion after the clock went back, without a reset", 0.5)
        + always(cell)
    )


def signals(world: World, seed: int, mutation: str) -> Verdict:
    """Row 10: SIGINT or SIGTERM, and a second one at once: held by a ramp first, then exit code 0."""
    cell = arm_cell(world, mutation=mutation)
    cell.run()
    cell.wait_random_moment(seed)
    node = cell.parts["arm_node"]
    first, second = random.Random(seed).sample([node.interrupt, node.term], 2)  # noqa: S311
    fault_ns = first()
    second()
    code = node.wait_exit(_EXIT_S)
    took_s = (now_ns() - fault_ns) / 1e9
    verdict = cell.judge_stop(fault_ns, open_loop_s=0.1)
    return (
        verdict
        + ramped(cell)
        + check(code == 0, f"exit code {code}")
        + check(took_s <= _EXIT_S, f"took {took_s:.1f} s", exit_s=took_s)
    )


def signals_to_launch(world: World, seed: int, mutation: str) -> Verdict:
    """Row 10: Ctrl-C twice, or SIGTERM, to the launch of everything while an episode runs."""
    cell = Cell(world)
    launch = world.launch(
        ROOT / "launch" / "whetstone.launch.xml",
        robot=write_robot(world.folder),
        backend="fake",
        command_log=str(cell.arm_log),
    )
    world.wait_ready("sim_node", "vla_node", "steering_node", "arm_node", "episode_node", "operator_node")
    world.watcher.tell("vla_node", fake_pattern="sine", fake_value=0.008)
    cell.run_episode()
    cell.wait_random_moment(seed)
    end = launch.interrupt if seed % 2 == 0 else launch.term
    fault_ns = end()
    end()
    code = launch.wait_exit(2 * _EXIT_S)
    took_s = (now_ns() - fault_ns) / 1e9
    return (
        cell.judge_own_stop(fault_ns, open_loop_s=0.5)
        + ramped(cell)
        + always(cell)
        + check(code == 0, f"exit code {code}")
        + check(took_s <= _EXIT_S, f"took {took_s:.1f} s", exit_s=took_s)
        + check(not world.survivors(), f"still alive: {world.survivors()}")
    )


def ramped(cell: Cell) -> Verdict:
    """The last commands slow down to rest; a cut stop would end at full speed."""
    from harness.armlog import step_size

    log = cell.commands()[-40:]
    speeds = [step_size(a, b) for a, b in zip(log, log[1:], strict=False)]
    fastest, last = max(speeds, default=0.0), speeds[-1] if speeds else 0.0
    return check(last <= 0.25 * fastest or last < 2e-4, f"ended at {last:.5f} rad per period of {fastest:.5f}")


CASES = (
    Case("10", "Ctrl-C twice to the launch", signals_to_launch, cores=4),
    Case("10", "SIGINT and SIGTERM at once", signals, ("signals_are_not_caught",), quick=True),
    Case(
        "18",
        "clock stops, then policy is killed",
        clock_stops,
        ("watchdogs_follow_the_clock",),
        quick=True,
    ),
    Case("18", "clock jumps", clock_jumps, ("clock_may_go_back",)),
)
