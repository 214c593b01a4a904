# SPDX-License-Identifier: Apache-2.0
"""Rows of chunks: not finite, too far, doubled, late, from somebody else, or not there in time."""

from __future__ import annotations

import math
import time

from vla_interfaces.msg import ActionChunk
from vla_interfaces.srv import Arm

from harness.armlog import HOLD, POLICY, moved
from harness.cells import OPEN_LOOP_S, Cell, arm_cell
from harness.oracle import Verdict, judge_reason
from harness.rows.case import Case, always, check, no_motion, now_ns, statuses, total, watch_for
from harness.schedule import Fault, dump_faults
from harness.until import until
from harness.watcher import RELIABLE
from harness.world import World

_RELAY = "relay_action_chunk"
_HARMED_AT = 2


def not_finite_ahead(world: World, seed: int, mutation: str) -> Verdict:
    """Row 19 with asynchronous execution: the chunk in hand plays on while the bad one is refused."""
    return not_finite(world, seed, mutation, "async")


def not_finite(world: World, seed: int, mutation: str, execution: str = "sync") -> Verdict:
    """Row 19: one bad element anywhere refuses the whole chunk; nothing of it is played."""
    faults = {
        "NaN": Fault("nan", field="actions", after=_HARMED_AT),
        "infinite": Fault("inf", field="actions", after=_HARMED_AT),
        "1e38": Fault("set", field="actions", index=3 + seed % 50, value="1e38", after=_HARMED_AT),
    }
    cell = arm_cell(world, mutation=mutation, relay=[], seed=seed, arm={"execution": execution})
    cell.warm_up()
    verdicts = [_harmed(cell, name, fault, seed) for name, fault in faults.items()]
    tiny = Fault("set", field="actions", index=0, value="1e-42")
    return total(verdicts) + _harmless(cell, tiny)


def _harmed(cell: Cell, name: str, fault: Fault, seed: int) -> Verdict:
    watcher = cell.world.watcher
    heard = watcher.listen(ActionChunk, "action_chunk", RELIABLE)
    cell.resume()
    cell.wait_moving()
    watcher.tell(_RELAY, faults=dump_faults([fault]), seed=seed)
    harmed = until(lambda: [item for item in heard if is_harmed(item[1])], 10.0, f"a chunk with {name}")
    fault_ns, chunk = harmed[0]
    watch_for(1.0)
    played = [c for c in cell.commands() if c.source == POLICY and c.request_id == chunk.stamp.request_id]
    verdict = (
        check(not played, f"{name}: {len(played)} commands of the harmed chunk were obeyed")
        + judge_reason(statuses(cell), "arm_node", ("NOT_FINITE", "LIMIT_EXCEEDED"), fault_ns)
        + cell.judge_stop(fault_ns, open_loop_s=OPEN_LOOP_S, until_ns=now_ns())
        + always(cell)
    )
    watcher.tell(_RELAY, faults="[]")
    stop_and_recover(cell)
    return verdict


def _harmless(cell: Cell, fault: Fault) -> Verdict:
    cell.world.watcher.tell(_RELAY, faults=dump_faults([fault]))
    cell.resume()
    try:
        cell.wait_moving()
    except AssertionError:
        return Verdict(("a subnormal number is finite, yet its chunk was refused",))
    return Verdict()


def is_harmed(chunk: ActionChunk) -> bool:
    """Whether no arm could mean an element of it."""
    return any(not math.isfinite(value) or abs(value) > 1e6 for value in chunk.actions)


def stop_and_recover(cell: Cell) -> None:
    """To READY, whatever state the arm is in."""
    watcher = cell.world.watcher
    pause = cell.pause()
    if pause.success:
        watcher.wait_state("arm_node", "READY", 5.0)
        return
    watcher.wait_state("arm_node", ("STOPPED", "ERROR", "READY"), 5.0)
    if watcher.latest("arm_node").state != "READY":
        cell.reset()
        watcher.wait_state("arm_node", "READY", 5.0)


def too_far(world: World, seed: int, mutation: str) -> Verdict:
    """Row 20: half a radian, a place outside the joint's range, and a jump in the first chunk of an episode."""
    cell = arm_cell(world, mutation=mutation, relay=[], seed=seed)
    cell.warm_up()
    verdicts = []
    for value, index, after in (("0.5", 8, _HARMED_AT), ("-3.0", 8, _HARMED_AT), ("1.0", 0, 0)):
        cell.world.watcher.tell(
            _RELAY, faults=dump_faults([Fault("set", field="actions", index=index, value=value, after=after)])
        )
        cell.resume()
        started_ns = now_ns()
        watch_for(1.5)
        verdicts.append(always(cell) + cell.judge_smooth())
        verdicts.append(judge_reason(statuses(cell), "arm_node", "LIMIT_EXCEEDED", started_ns, within_s=1.5))
        cell.world.watcher.tell(_RELAY, faults="[]")
        stop_and_recover(cell)
    return total(verdicts)


def disorder(world: World, seed: int, mutation: str, execution: str = "sync") -> Verdict:
    """Row 22: doubled, late, swapped, from an older episode and from another epoch; only the asked-for chunk plays."""
    faults = [
        Fault("duplicate", probability=0.5, copies=2, delay_s=0.12),
        Fault("delay", probability=0.2, delay_s=0.4),
        Fault("reorder", probability=0.2),
        Fault("set", field="stamp.episode", value="0", probability=0.1),
        Fault("set", field="stamp.epoch", value="1", probability=0.1),
    ]
    cell = arm_cell(world, mutation=mutation, relay=[], seed=seed, arm={"execution": execution, "chunk_timeout_s": 0.6})
    heard = world.watcher.listen(ActionChunk, "action_chunk", RELIABLE)
    cell.run()
    world.watcher.tell(_RELAY, faults=dump_faults(faults), seed=seed)
    end_s = time.monotonic() + 6.0
    while time.monotonic() < end_s:
        watch_for(0.2)
        if world.watcher.latest("arm_node").state == "STOPPED":
            cell.reset()
            cell.resume()
    intact = {(msg.stamp.epoch, msg.stamp.episode, msg.stamp.request_id) for _, msg in heard}
    log = [c for c in cell.commands() if c.source == POLICY]
    foreign = {(c.epoch, c.episode, c.request_id) for c in log} - intact
    kinds = len({c.request_id for c in log})
    return (
        check(not foreign, f"played what nobody sent in this form: {sorted(foreign)[:3]}")
        + check(kinds >= 4, f"only {kinds} chunks played: the test proves little", chunks_played=kinds)
        + always(cell)
        + cell.judge_smooth()
    )


def disorder_async(world: World, seed: int, mutation: str) -> Verdict:
    """Row 22 with asynchronous execution."""
    return disorder(world, seed, mutation, "async")


def underrun(world: World, seed: int, mutation: str) -> Verdict:
    """Row 23: inference of half a chunk, one, three, and a stall of 2 s; every gap is a ramp that says UNDERRUN."""
    delays = [0.05, 0.05, 0.2, 0.4, 1.2, 0.05, 2.0, 0.05]
    rotated = delays[seed % 4 :] + delays[: seed % 4]
    policy = {"delays_s": rotated, "horizon": 8, "valid_for_s": 5.0}
    cell = arm_cell(world, mutation=mutation, policy=policy, arm={"chunk_timeout_s": 4.0})
    cell.warm_up()
    cell.resume()
    started_ns = now_ns()
    until(lambda: chunks_played(cell) > len(delays), 25.0, "all chunks of the table play")
    return (
        judge_reason(statuses(cell), "arm_node", "UNDERRUN", started_ns, within_s=10.0, counter="underruns")
        + always(cell)
        + cell.judge_smooth()
        + check(
            longest_gap_s(cell) > 1.5,
            "the stall of 2 s left no gap: it was not held",
            longest_gap_s=longest_gap_s(cell),
        )
    )


def no_gap(world: World, seed: int, mutation: str) -> Verdict:
    """Row 23: as long as inference is shorter than the chunk, asynchronous execution never holds."""
    cell = arm_cell(world, mutation=mutation, policy={"delays_s": [0.1]}, arm={"execution": "async"})
    cell.run()
    until(lambda: chunks_played(cell) > 6, 15.0, "six chunks play")
    log = cell.commands()
    playing = [c for c in log if c.t_ns > log[0].t_ns and c.episode == log[-1].episode]
    first = next(i for i, c in enumerate(playing) if c.source == POLICY)
    later = [c for c in playing[first:] if c.request_id >= playing[first].request_id + 2]
    holds = [c for c in later if c.source == HOLD]
    return check(not holds, f"{len(holds)} hold commands between chunks") + always(cell) + cell.judge_smooth()


def chunks_played(cell: Cell) -> int:
    """Number of different chunks in the log."""
    return len({c.request_id for c in cell.commands() if c.source == POLICY})


def longest_gap_s(cell: Cell) -> float:
    """Longest time between two policy commands."""
    times = [c.t_ns for c in cell.commands() if c.source == POLICY]
    return max((b - a for a, b in zip(times, times[1:], strict=False)), default=0) / 1e9


def second_policy(world: World, seed: int, mutation: str) -> Verdict:
    """Row 25: a second node sends valid chunks, faster than the first; it is refused by name."""
    cell = arm_cell(world, mutation=mutation, policy={"delays_s": [0.06]})
    cell.run()
    cell.wait_random_moment(seed)
    started_ns = now_ns()
    world.fake("fake_policy", name="rogue", parameters={"amplitude_rad": 0.0, "delays_s": [0.0]})
    world.wait_ready("rogue")
    watch_for(2.0)
    still = moved([c for c in cell.commands() if c.t_ns > started_ns])
    return (
        judge_reason(
            statuses(cell),
            "arm_node",
            "SECOND_SOURCE",
            started_ns,
            within_s=5.0,
            counter="second_source",
            detail="rogue",
        )
        + check(still, "the first policy no longer moves the arm")
        + always(cell)
    )


def foreign_contract(world: World, seed: int, mutation: str) -> Verdict:
    """Row 21: a policy for another robot is refused before the arm can be armed, and the refusal names the field."""
    wrong = [f"ur_joint{number}" for number in range(7)] + ["ur_gripper"]
    cell = arm_cell(world, mutation=mutation, policy={"joint_names": wrong})
    watch_for(1.0)
    answer = world.watcher.call(Arm, "arm_node/arm")
    return (
        check(not answer.success, "armed for the policy of another robot")
        + check("joint_names" in answer.message, f"the refusal does not name the field: {answer.message!r}")
        + no_motion(cell, 0, "motion without being armed", 0.3)
    )


CASES = (
    Case("19", "NaN, Inf and 1e38 in a chunk", not_finite, ("chunk_is_not_checked",), quick=True),
    Case("19", "the same while the chunk before plays", not_finite_ahead, ("chunk_is_not_checked",)),
    Case("20", "too far, outside, first step", too_far, ("no_limits",), quick=True),
    Case("21", "contract of another robot", foreign_contract, ("any_contract_fits",)),
    Case("22", "disorder of chunks, sync", disorder, ("any_chunk_is_welcome",), quick=True),
    Case("22", "disorder of chunks, async", disorder_async, ("any_chunk_is_welcome",)),
    Case("23", "slow inference and a stall", underrun, ("hold_is_a_wall",)),
    Case("23", "no gap below one chunk", no_gap),
    Case("25", "second policy", second_policy, ("second_source_is_welcome",)),
)
