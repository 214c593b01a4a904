# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from robot_bringup.core.episodes import Outcome
from robot_bringup.core.judges import Mark, Panel, Score, Settings, Step, Truth

SETTINGS = Settings(max_steps=160, reset_id=4, consecutive=2)


def panel(*sources: str, settings: Settings = SETTINGS) -> Panel:
    return Panel(list(sources), settings)


def test_when_truth_says_success_expect_success_at_that_tick() -> None:
    judged = panel("sim_truth")
    judged.observe(Truth(4, 59, 1, success=False))
    judged.observe(Truth(4, 60, 2, success=True))
    assert judged.verdict is not None
    assert (judged.verdict.outcome, judged.verdict.steps, judged.verdict.end_ns) == (Outcome.SUCCEEDED, 60, 2)


def test_when_truth_is_of_the_old_scene_expect_it_is_ignored() -> None:
    judged = panel("sim_truth")
    judged.observe(Truth(3, 60, 2, success=True))
    assert judged.verdict is None


def test_when_someone_else_resets_the_simulator_expect_abort() -> None:
    judged = panel("sim_truth")
    judged.observe(Truth(5, 0, 2, success=False))
    assert judged.verdict is not None
    assert judged.verdict.outcome is Outcome.ABORTED


@pytest.mark.parametrize(("tick", "over"), [(159, False), (160, True), (400, True)])
def test_when_ticks_run_out_expect_time_out_by_tick_count(tick: int, over: bool) -> None:  # noqa: FBT001
    judged = panel("sim_truth")
    judged.observe(Truth(4, tick, 2, success=False))
    assert (judged.verdict is not None and judged.verdict.outcome is Outcome.TIMED_OUT) is over


def test_when_success_comes_with_the_last_tick_expect_success() -> None:
    judged = panel("sim_truth")
    judged.observe(Truth(4, 160, 2, success=True))
    assert judged.verdict is not None
    assert judged.verdict.outcome is Outcome.SUCCEEDED


def test_when_the_world_ran_before_the_arm_was_let_go_expect_those_ticks_do_not_count() -> None:
    judged = panel("sim_truth", settings=Settings(max_steps=100, reset_id=1, start_tick=50))
    judged.observe(Truth(1, 149, 2, success=False))
    assert judged.verdict is None
    judged.observe(Truth(1, 150, 3, success=False))
    assert judged.verdict is not None
    assert judged.verdict.steps == 100


def test_when_a_verdict_stands_expect_later_events_do_not_change_it() -> None:
    judged = panel("sim_truth")
    judged.observe(Truth(4, 10, 1, success=True))
    judged.observe(Truth(5, 0, 2, success=False))
    assert judged.verdict is not None
    assert judged.verdict.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(("word", "outcome"), [("success", Outcome.SUCCEEDED), ("failure", Outcome.FAILED)])
def test_when_operator_marks_expect_that_outcome_with_the_steps_so_far(word: str, outcome: Outcome) -> None:
    judged = panel("operator")
    judged.observe(Step(33, 5))
    judged.observe(Mark("nonsense", 6))
    judged.observe(Mark(word, 7))
    assert judged.verdict is not None
    assert (judged.verdict.outcome, judged.verdict.steps) == (outcome, 33)


def test_when_operator_aborts_expect_abort_whoever_judges() -> None:
    judged = panel("sim_truth")
    judged.observe(Mark("abort", 7))
    assert judged.verdict is not None
    assert judged.verdict.outcome is Outcome.ABORTED


def test_when_nobody_marks_expect_time_out_by_executed_steps() -> None:
    judged = panel("operator")
    judged.observe(Step(160, 5))
    assert judged.verdict is not None
    assert judged.verdict.outcome is Outcome.TIMED_OUT


def test_when_classifier_is_sure_twice_in_a_row_expect_success() -> None:
    judged = panel("classifier")
    for probability in (0.95, 0.2, math.nan, 0.95):
        judged.observe(Score(probability, 1))
        assert judged.verdict is None
    judged.observe(Score(0.91, 2))
    assert judged.verdict is not None
    assert judged.verdict.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("sources", [[], ["oracle"]])
def test_when_the_source_is_unknown_expect_refusal(sources: list[str]) -> None:
    with pytest.raises(ValueError, match="choose from"):
        Panel(sources, SETTINGS)
