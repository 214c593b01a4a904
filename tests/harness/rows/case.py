# SPDX-License-Identifier: Apache-2.0
"""What a row consists of, and the small steps that many rows share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.cells import CHUNK_TIMEOUT_S, MAX_STEP_RAD, OPEN_LOOP_S, Cell
from harness.oracle import Status, Verdict, judge_commands, judge_identity, judge_reason
from harness.until import stays
from harness.world import World

# Allowance for a machine on which something else computes.
SLACK_S = 0.5


@dataclass(frozen=True)
class Case:
    """One way to try a row.

    Attributes:
        row: Number of the row.
        name: What is done.
        scenario: Does it; gets the world, a seed, and the mutation ("" = the product as it is).
        mutations: Protections without which the scenario's verdict must be bad.
        cores: Shares of the machine that it takes, of `harness.cores.SHARES`.
        quick: Whether the first mutation is tried on each change; all of them belong to the full run.
    """

    row: str
    name: str
    scenario: Callable[[World, int, str], Verdict]
    mutations: tuple[str, ...] = ()
    quick: bool = False
    cores: int = 2

    @property
    def id(self) -> str:
        """For the test's name."""
        return f"row{self.row}-{self.name.replace(' ', '_')}"


def check(condition: object, problem: str, **numbers: float) -> Verdict:
    """A judgement that needs no judge."""
    return Verdict(() if condition else (problem,), numbers)


def total(verdicts: Sequence[Verdict]) -> Verdict:
    """All promises together."""
    return sum(verdicts, Verdict())


def watch_for(duration_s: float) -> None:
    """Let time pass because the promise is about what does not happen meanwhile."""
    stays(lambda: True, duration_s)


def now_ns() -> int:
    """CLOCK_MONOTONIC."""
    return time.monotonic_ns()


def always(cell: Cell) -> Verdict:
    """What holds in every scenario: finite, no jump, nothing old is played."""
    return judge_commands(cell.commands(), MAX_STEP_RAD) + judge_identity(cell.commands())


def statuses(cell: Cell) -> list[Status]:
    """All statuses so far."""
    return statuses_of(cell.world)


def statuses_of(world: World) -> list[Status]:
    """All statuses so far, where there is no arm."""
    return list(world.watcher.statuses)


def underrun_then_lost(cell: Cell, fault_ns: int, open_loop_s: float = OPEN_LOOP_S) -> Verdict:
    """The chunk in hand plays out, the arm holds and says so, and after the time-out it stops for good."""
    lost_s = open_loop_s + CHUNK_TIMEOUT_S
    watch_for(max(0.0, fault_ns / 1e9 + lost_s + 0.5 - time.monotonic()))
    try:
        cell.world.watcher.wait_state("arm_node", "STOPPED", 4.0, after_ns=fault_ns, reason="POLICY_LOST")
    except AssertionError as error:
        return cell.judge_stop(fault_ns, open_loop_s=open_loop_s) + Verdict((str(error),))
    said = judge_reason(statuses(cell), "arm_node", "POLICY_LOST", fault_ns, within_s=lost_s + 1.0, allowance=1.0)
    lost = Verdict(said.problems, {"policy_lost_s": said.numbers.get("reason_s", float("inf"))})
    return cell.judge_stop(fault_ns, open_loop_s=open_loop_s) + lost + always(cell)


def no_motion(cell: Cell, since_ns: int, what: str, duration_s: float = 1.0) -> Verdict:
    """Nobody but a hold commands the arm from a moment until `duration_s` from now."""
    watch_for(duration_s)
    moved = cell.policy_commands_after(since_ns)
    return check(not moved, f"{what}: {len(moved)} commands, first at step {moved[0] if moved else None}")
