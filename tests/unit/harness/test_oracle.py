# SPDX-License-Identifier: Apache-2.0
"""The judges must find each kind of wrong, or every row that leans on them is decoration."""

from __future__ import annotations

import math

import pytest

from harness.armlog import HOLD, POLICY, Command
from harness.oracle import (
    Status,
    StopLimits,
    Verdict,
    judge_clean,
    judge_commands,
    judge_equal,
    judge_identity,
    judge_ledger,
    judge_reason,
    judge_stop,
)

MS = 1_000_000
LIMITS = StopLimits(max_step_rad=0.02, allowance=1.0)
FAULT_NS = 1000 * MS


def motion(stop_ms: int, ramp_ms: int = 0, *, sources: bool = True) -> list[Command]:
    """An arm at 100 Hz that moves until `stop_ms` after the fault, ramps, and then repeats its target."""
    log, value = [], 0.0
    for at_ms in range(0, 3000, 10):
        since_ms = at_ms - FAULT_NS // MS
        moving = since_ms <= stop_ms
        if moving:
            value += 0.01
        elif since_ms <= stop_ms + ramp_ms:
            value += 0.001
        source = (POLICY if moving else HOLD) if sources else ""
        log.append(Command(at_ms * MS, (value, 0.0), source))
    return log


def test_when_arm_holds_in_time_expect_no_problem_and_the_measured_times() -> None:
    verdict = judge_stop(motion(80, 100), FAULT_NS, LIMITS)
    assert verdict.ok, verdict.problems
    assert verdict.numbers["stop_s"] == pytest.approx(0.08)
    assert verdict.numbers["standstill_s"] == pytest.approx(0.18)


def test_when_motion_goes_on_expect_problem() -> None:
    assert not judge_stop(motion(300), FAULT_NS, LIMITS).ok


def test_when_chunk_in_hand_may_play_expect_more_time() -> None:
    assert judge_stop(motion(300), FAULT_NS, StopLimits(max_step_rad=0.02, open_loop_s=0.3)).ok


def test_when_ramp_never_ends_expect_problem() -> None:
    verdict = judge_stop(motion(50, 1500), FAULT_NS, LIMITS)
    assert any("moved until" in problem for problem in verdict.problems)


def test_when_log_has_no_sources_expect_standstill_to_be_judged() -> None:
    assert judge_stop(motion(80, 100, sources=False), FAULT_NS, LIMITS).ok
    assert not judge_stop(motion(800, sources=False), FAULT_NS, LIMITS).ok


def test_when_arm_never_moved_before_fault_expect_the_test_to_be_called_void() -> None:
    still = [Command(at * 10 * MS, (0.0,), POLICY) for at in range(100)]
    assert any("proves nothing" in problem for problem in judge_stop(still, FAULT_NS, LIMITS).problems)


def test_when_motion_comes_after_the_end_of_judgement_expect_it_to_be_ignored() -> None:
    log = [*motion(80), Command(3500 * MS, (9.0, 0.0), POLICY)]
    assert judge_stop(log, FAULT_NS, LIMITS, until_ns=3000 * MS).ok
    assert not judge_stop(log, FAULT_NS, LIMITS).ok


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_when_a_value_is_not_finite_expect_problem(bad: float) -> None:
    log = [Command(0, (0.0,)), Command(1, (bad,)), Command(2, (0.0,))]
    assert not judge_commands(log, 10.0).ok
    assert not judge_stop([*motion(80), Command(2999 * MS, (bad, 0.0), HOLD)], FAULT_NS, LIMITS).ok


def test_when_a_step_is_too_large_expect_problem_with_its_size() -> None:
    verdict = judge_commands([Command(0, (0.0, 0.0)), Command(1, (0.0, -0.5))], 0.1)
    assert "0.5000" in verdict.problems[0]
    assert verdict.numbers["largest_step_rad"] == pytest.approx(0.5)


def test_when_commands_were_lost_on_the_way_expect_a_gap_to_allow_more() -> None:
    log = [Command(0, (0.0,)), Command(30 * MS, (0.035,))]
    assert not judge_commands(log, 0.01).ok
    assert judge_commands(log, 0.01, period_s=0.01).ok
    assert not judge_commands([Command(0, (0.0,)), Command(30 * MS, (0.3,))], 0.01, period_s=0.01).ok


def test_when_time_goes_back_expect_problem() -> None:
    assert not judge_commands([Command(5, (0.0,)), Command(4, (0.0,))], 1.0).ok


def step(at: int, request: int, index: int, **kwargs: int) -> Command:
    """One policy step."""
    return Command(
        at, (0.0,), POLICY, epoch=kwargs.pop("epoch", 1), episode=1, request_id=request, step=index, **kwargs
    )


def test_when_steps_and_chunks_only_advance_expect_no_problem() -> None:
    assert judge_identity([step(0, 1, 0), step(1, 1, 0), step(2, 1, 2), step(3, 2, 1)]).ok


@pytest.mark.parametrize(
    "log",
    [
        [step(0, 2, 0), step(1, 1, 5)],
        [step(0, 1, 3), step(1, 1, 2)],
        [step(0, 1, 0, epoch=2), step(1, 9, 0, epoch=1)],
        [step(100, 1, 0, valid_until_ns=50)],
    ],
    ids=["older chunk", "step back", "older epoch", "expired"],
)
def test_when_something_old_plays_expect_problem(log: list[Command]) -> None:
    assert not judge_identity(log).ok


def test_when_a_hold_is_between_chunks_expect_it_to_be_ignored() -> None:
    assert judge_identity([step(0, 2, 0), Command(1, (0.0,), HOLD, request_id=1), step(2, 3, 0)]).ok


def test_when_ledger_balances_expect_no_problem() -> None:
    assert judge_ledger([1, 2, 3], [1, 3], [2]).ok


@pytest.mark.parametrize(
    ("sent", "stored", "dropped", "word"),
    [
        ([1, 2], [1], [], "lost"),
        ([1], [1, 1], [], "twice"),
        ([1], [1, 7], [], "never sent"),
        ([1], [1], [1], "stored and dropped"),
    ],
)
def test_when_ledger_does_not_balance_expect_the_kind(
    sent: list[int], stored: list[int], dropped: list[int], word: str
) -> None:
    assert any(word in problem for problem in judge_ledger(sent, stored, dropped).problems)


def status(at_ms: int, reason: str, count: int = 0, node: str = "arm_node", detail: str = "") -> Status:
    """A status at a moment."""
    return Status(at_ms * MS, node, "HOLDING", reason, detail, {"lost": count})


def test_when_node_says_why_expect_delay_and_counter() -> None:
    log = [status(900, "NONE", 1), status(1400, "POLICY_LOST", 2)]
    verdict = judge_reason(log, "arm_node", "POLICY_LOST", FAULT_NS, counter="lost", by=1)
    assert verdict.ok, verdict.problems
    assert verdict.numbers["reason_s"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "log",
    [
        [status(900, "POLICY_LOST", 1)],
        [status(1100, "UNDERRUN", 1)],
        [status(1100, "POLICY_LOST", 1, node="vla_node")],
        [status(3500, "POLICY_LOST", 1)],
        [status(900, "NONE", 1), status(1100, "POLICY_LOST", 1)],
        [status(900, "NONE", 1), status(1100, "POLICY_LOST", 3)],
    ],
    ids=["before the fault", "other reason", "other node", "too late", "counter still", "counter twice"],
)
def test_when_the_reason_is_wrong_or_late_expect_problem(log: list[Status]) -> None:
    assert not judge_reason(log, "arm_node", "POLICY_LOST", FAULT_NS, counter="lost", by=1).ok


def test_when_detail_must_name_the_stream_expect_it_to_be_checked() -> None:
    log = [status(1100, "MISSING_STREAM", detail="camera wrist: 0.2 s old")]
    assert judge_reason(log, "arm_node", "MISSING_STREAM", FAULT_NS, detail="wrist").ok
    assert not judge_reason(log, "arm_node", "MISSING_STREAM", FAULT_NS, detail="front").ok


def test_when_anything_is_left_or_slow_expect_problem() -> None:
    assert judge_clean([], [], 1.0).ok
    assert not judge_clean([7], [], 1.0).ok
    assert not judge_clean([], ["fastrtps_x"], 1.0).ok
    assert not judge_clean([], [], 11.0).ok


def test_when_hashes_differ_or_miss_expect_problem() -> None:
    assert judge_equal({"weights": "a"}, {"weights": "a"}).ok
    assert not judge_equal({"weights": "a"}, {"weights": "b"}).ok
    assert not judge_equal({"weights": "a"}, {}).ok
    assert not judge_equal({}, {"rng": "a"}).ok


def test_when_verdicts_are_added_expect_problems_and_numbers_of_both() -> None:
    both = Verdict(("a",), {"x": 1.0, "z": 3.0}) + Verdict(("b",), {"y": 2.0, "x": 0.5})
    assert both.problems == ("a", "b")
    assert both.numbers == {"x": 1.0, "y": 2.0, "z": 3.0}
