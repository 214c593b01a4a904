# SPDX-License-Identifier: Apache-2.0
import pytest

from robot_operation.core.holding import HoldLimits, HoldTimes

LIMITS = HoldLimits(longest_s=5.0, share=0.5)
BLIND = {"observation_node": "holding, missing stream: joints"}


def test_when_nobody_holds_expect_no_problem() -> None:
    times = HoldTimes(10.0)
    times.update(99.0, {})
    assert times.problem(LIMITS) == "" and times.result_problem(LIMITS) == ""


def test_when_no_time_has_passed_expect_no_problem() -> None:
    times = HoldTimes(10.0)
    times.update(10.0, BLIND)
    assert times.problem(LIMITS) == "" and times.result_problem(LIMITS) == ""


def test_when_a_node_holds_too_long_in_a_row_expect_its_name_and_reason() -> None:
    times = HoldTimes(0.0)
    times.update(1.0, BLIND)
    times.update(6.0, BLIND)
    assert times.problem(LIMITS) == ""
    times.update(6.5, BLIND)
    assert times.problem(LIMITS) == (
        "held for 5.5 s in a row: observation_node held 5.5 s (holding, missing stream: joints)"
    )


def test_when_one_hold_follows_another_node_s_expect_one_row() -> None:
    times = HoldTimes(0.0)
    times.update(0.0, BLIND)
    times.update(3.0, {"arm_node": "holding, no chunk left to play"})
    times.update(6.0, {"arm_node": "holding, no chunk left to play"})
    assert "6.0 s in a row" in times.problem(LIMITS)


def test_when_holds_are_brief_and_few_expect_the_episode_to_count() -> None:
    times = HoldTimes(0.0)
    for second in range(0, 100, 10):
        times.update(float(second), BLIND)
        times.update(second + 4.0, {})
    assert times.problem(LIMITS) == "" and times.result_problem(LIMITS) == ""


@pytest.mark.parametrize(("held_s", "counts"), [(4.9, True), (5.1, False)])
def test_when_more_than_the_share_was_held_expect_the_verdict_refused(held_s: float, counts: bool) -> None:
    times = HoldTimes(0.0)
    for begin_s in (0.0, 5.0):
        times.update(begin_s, BLIND)
        times.update(begin_s + held_s / 2, {})
    times.update(10.0, {})
    assert times.problem(LIMITS) == ""
    assert (times.result_problem(LIMITS) == "") is counts


def test_when_two_nodes_hold_at_once_expect_the_time_counted_once_and_both_named_longest_first() -> None:
    times = HoldTimes(0.0)
    times.update(0.0, {"observation_node": "holding"})
    times.update(1.0, {"arm_node": "holding, no chunk left to play", "observation_node": "holding"})
    times.update(3.0, {})
    text = times.result_problem(LIMITS)
    assert text.startswith("held for 3.0 of 3.0 s: observation_node held 3.0 s (holding); arm_node held 2.0 s")


def test_when_the_world_waits_expect_the_wait_not_counted() -> None:
    times = HoldTimes(7.0)
    for _ in range(1000):
        times.update(7.0, BLIND)
    times.update(7.05, {})
    times.update(9.0, {})
    assert times.problem(LIMITS) == "" and times.result_problem(LIMITS) == ""


def test_when_the_time_goes_back_expect_no_time_counted() -> None:
    times = HoldTimes(7.0)
    times.update(7.0, BLIND)
    times.update(1.0, {})
    times.update(8.0, {})
    assert times.result_problem(LIMITS) == ""


def test_when_no_holding_is_allowed_expect_the_least_to_count() -> None:
    times = HoldTimes(0.0)
    times.update(0.0, BLIND)
    times.update(0.1, {})
    times.update(100.0, {})
    assert times.result_problem(HoldLimits(5.0, 0.0))
