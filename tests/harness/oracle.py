# SPDX-License-Identifier: Apache-2.0
"""The five judges as pure functions: O1 stop, O2 ledger, O3 reason, O4 clean, O5 equal.

Each returns a verdict with measured numbers and a list of problems; an empty list means that the promise was kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.armlog import HOLD, POLICY, Command, after, moved, step_size

_NS = 1e9
# Continuous integration shares its cores; the promise itself is judged without the allowance in the nightly figures.
CI_ALLOWANCE = 2.0
# How recently before the fault the arm must have moved for a stop to mean anything.
_MOVING_BEFORE_NS = 1_000_000_000


@dataclass(frozen=True)
class StopLimits:
    """What "stopped in time" means.

    Attributes:
        timeout_s: Silence after which the arm must hold.
        period_s: One control period.
        ramp_s: Longest hold ramp.
        open_loop_s: How long a chunk in hand may go on playing; 0 when the fault must stop it at once.
        max_step_rad: Largest change between two commands of any joint.
        allowance: Factor for a shared machine, on everything but `open_loop_s`.
        lossy: Whether commands may be missing from the log, as from that of a drive.
    """

    max_step_rad: float
    timeout_s: float = 0.10
    period_s: float = 0.01
    ramp_s: float = 0.25
    open_loop_s: float = 0.0
    allowance: float = CI_ALLOWANCE
    lossy: bool = False

    @property
    def last_motion_command_s(self) -> float:
        """Latest allowed command that is not part of a hold ramp, after the fault."""
        return self.open_loop_s + self.allowance * (self.timeout_s + self.period_s)

    @property
    def standstill_s(self) -> float:
        """Latest allowed change of the command, ramp included, after the fault."""
        return self.last_motion_command_s + self.allowance * self.ramp_s


@dataclass(frozen=True)
class Verdict:
    """Outcome of a judge."""

    problems: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the promise was kept."""
        return not self.problems

    def __add__(self, other: Verdict) -> Verdict:
        """Both promises together; where both measured the same thing, the worse figure counts."""
        numbers = {**self.numbers}
        for name, value in other.numbers.items():
            numbers[name] = max(value, numbers.get(name, value))
        return Verdict(self.problems + other.problems, numbers)


def judge_stop(log: Sequence[Command], fault_ns: int, limits: StopLimits, until_ns: int | None = None) -> Verdict:
    """O1: after the fault the arm came to hold in time, without a jump and without a value that is not finite.

    Args:
        log: Commands in the order in which they were obeyed. With sources, the last command that is not HOLD is
            timed; without (a drive's log) only the standstill is.
        fault_ns: CLOCK_MONOTONIC of the fault.
        limits: What is allowed.
        until_ns: Commands after this are not part of the judgement (a later, explicit resume).
    """
    window = [command for command in log if until_ns is None or command.t_ns <= until_ns]
    lost_period_s = limits.period_s if limits.lossy else math.inf
    problems = list(judge_commands(window, limits.max_step_rad, lost_period_s).problems)
    late = after(list(window), fault_ns)
    before = [c for c in window if fault_ns - _MOVING_BEFORE_NS <= c.t_ns <= fault_ns]
    if not moved(before):
        problems.append("the arm did not move before the fault: the test proves nothing")
    # The last command before the fault is needed to see whether the first one after it moved.
    start = max(len(window) - len(late) - 1, 0)
    last_motion = max((c.t_ns for c in moved(list(window[start:]))), default=fault_ns)
    numbers = {"standstill_s": max(last_motion - fault_ns, 0) / _NS}
    if numbers["standstill_s"] > limits.standstill_s:
        problems.append(
            f"moved until {numbers['standstill_s']:.3f} s after the fault, allowed {limits.standstill_s:.3f}"
        )
    if any(command.source for command in window):
        last = max((c.t_ns for c in late if c.source != HOLD), default=fault_ns)
        numbers["allowed_stop_s"] = limits.last_motion_command_s
        numbers["stop_s"] = (last - fault_ns) / _NS
        if numbers["stop_s"] > limits.last_motion_command_s:
            problems.append(
                f"obeyed a motion command {numbers['stop_s']:.3f} s after the fault, "
                f"allowed {limits.last_motion_command_s:.3f}"
            )
    return Verdict(tuple(problems), numbers)


def judge_commands(log: Sequence[Command], max_step_rad: float, period_s: float = math.inf) -> Verdict:
    """The part of O1 that holds at any time: finite values, no step above the limit, time never backwards.

    Args:
        log: Commands in order.
        max_step_rad: Largest change from one command to the next.
        period_s: Where commands may have been lost on the way (the log of a drive), the period at which they were
            sent: a gap of n periods then allows n steps.
    """
    problems = []
    largest = 0.0
    for command in log:
        if not all(math.isfinite(value) for value in command.values):
            problems.append(f"not finite at {command.t_ns}: {command.values}")
    for old, new in zip(log, log[1:], strict=False):
        size = step_size(old, new)
        largest = max(largest, size) if math.isfinite(size) else largest
        allowed = max_step_rad * (1.0 + (new.t_ns - old.t_ns) / _NS / period_s)
        if not size <= allowed and math.isfinite(size):
            problems.append(f"step of {size:.4f} at {new.t_ns}, allowed {allowed:.4f}")
        if new.t_ns < old.t_ns:
            problems.append(f"time went back at {new.t_ns}")
    return Verdict(tuple(problems), {"largest_step_rad": largest})


def judge_identity(log: Sequence[Command]) -> Verdict:
    """Chunks only get newer, and the steps of a chunk only go forward: nothing late, doubled or from before plays."""
    problems = []
    newest: tuple[int, int, int, int] | None = None
    for command in log:
        if command.source != POLICY or command.request_id < 0:
            continue
        key = (command.epoch, command.episode, command.request_id, command.step)
        if newest is not None and key < newest:
            problems.append(f"{key} after {newest} at {command.t_ns}")
        newest = key if newest is None else max(newest, key)
        if command.valid_until_ns and command.t_ns > command.valid_until_ns:
            late_s = (command.t_ns - command.valid_until_ns) / _NS
            problems.append(f"{key} obeyed {late_s:.3f} s after it had expired")
    return Verdict(tuple(problems))


def judge_ledger(sent: Iterable[Hashable], stored: Iterable[Hashable], dropped: Iterable[Hashable] = ()) -> Verdict:
    """O2: set sent = set stored + set reported as dropped, and no key is stored twice."""
    sent_set, stored_list, dropped_set = set(sent), list(stored), set(dropped)
    doubled = [key for key, count in Counter(stored_list).items() if count > 1]
    lost = sent_set - set(stored_list) - dropped_set
    foreign = set(stored_list) - sent_set
    both = set(stored_list) & dropped_set
    named = (("stored twice", doubled), ("lost", lost), ("never sent", foreign), ("stored and dropped", both))
    problems = tuple(f"{len(keys)} {what}: {sorted(map(str, keys))[:3]}" for what, keys in named if keys)
    return Verdict(problems, {"sent": len(sent_set), "stored": len(set(stored_list)), "dropped": len(dropped_set)})


@dataclass(frozen=True)
class Status:
    """One status message as it was received.

    Attributes:
        t_ns: CLOCK_MONOTONIC of reception.
        node: Name of the node without namespace.
        state: Name of the state.
        reason: Name of the reason.
        detail: Human-readable rest.
        counters: Counter name to value.
        node_epoch: Identity of the process.
    """

    t_ns: int
    node: str
    state: str
    reason: str
    detail: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)
    node_epoch: int = 0


def judge_reason(
    statuses: Sequence[Status],
    node: str,
    reasons: str | Sequence[str],
    fault_ns: int,
    *,
    within_s: float = 1.0,
    allowance: float = CI_ALLOWANCE,
    counter: str = "",
    by: int | None = None,
    detail: str = "",
) -> Verdict:
    """O3: the node said why within a second, and the counter rose.

    Args:
        statuses: Everything received, in order.
        node: Who must speak.
        reasons: Accepted reason names.
        fault_ns: CLOCK_MONOTONIC of the fault.
        within_s: How soon.
        allowance: Factor on `within_s`.
        counter: Counter that must have risen, empty for none.
        by: Exact rise, None for "at least one".
        detail: Text that the status must contain.
    """
    wanted = (reasons,) if isinstance(reasons, str) else tuple(reasons)
    own = [status for status in statuses if status.node == node]
    said = [s for s in own if s.t_ns >= fault_ns and s.reason in wanted and detail in s.detail]
    problems = []
    numbers = {}
    if not said:
        heard = [(s.state, s.reason, s.detail) for s in own if s.t_ns >= fault_ns][-3:]
        problems.append(f"{node} never said {'/'.join(wanted)} {detail!r}; last heard: {heard}")
    else:
        numbers["reason_s"] = (said[0].t_ns - fault_ns) / _NS
        if numbers["reason_s"] > within_s * allowance:
            problems.append(f"{node} said {said[0].reason} after {numbers['reason_s']:.2f} s, allowed {within_s}")
    if counter:
        before = max((s.counters.get(counter, 0) for s in own if s.t_ns < fault_ns), default=0)
        now = own[-1].counters.get(counter, 0) if own else 0
        numbers[f"counter_{counter}"] = now - before
        if (by is None and now <= before) or (by is not None and now - before != by):
            problems.append(f"{node} counter {counter} rose by {now - before}, expected {by or 'at least 1'}")
    return Verdict(tuple(problems), numbers)


def command_of(pid: int) -> str:
    """Command line of a process, empty when it has gone meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def judge_clean(pids: Iterable[int], new_files: Iterable[str], duration_s: float, within_s: float = 10.0) -> Verdict:
    """O4: no process and no file is left, and getting there did not take long."""
    problems = [f"process {pid} is still there: {command_of(pid)}" for pid in pids]
    problems += [f"file {name} is left" for name in sorted(new_files)]
    if duration_s > within_s:
        problems.append(f"took {duration_s:.1f} s, allowed {within_s:.1f}")
    return Verdict(tuple(problems), {"cleanup_s": duration_s})


def judge_equal(saved: Mapping[str, str], restored: Mapping[str, str]) -> Verdict:
    """O5: the state after resume has the hashes of the state that was saved."""
    keys = sorted(set(saved) | set(restored))
    problems = tuple(
        f"{key}: saved {saved.get(key, 'nothing')}, restored {restored.get(key, 'nothing')}"
        for key in keys
        if saved.get(key) != restored.get(key)
    )
    return Verdict(problems, {"compared": len(keys)})
