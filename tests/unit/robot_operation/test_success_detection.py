# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from robot_operation.core.marks import Mark
from robot_operation.core.success_detection import (
    DetectorPanel,
    DetectorSettings,
    MarkEvent,
    Score,
    StepCount,
    TruthSample,
)
from whetstone_common.core.enums import Outcome

SETTINGS = DetectorSettings(max_steps=160, reset_id=4, consecutive=2)


def detectors(*sources: str, settings: DetectorSettings = SETTINGS) -> DetectorPanel:
    return DetectorPanel(list(sources), settings)


def test_when_truth_says_success_expect_success_at_that_tick() -> None:
    detected = detectors("sim_truth")
    detected.observe(TruthSample(4, 59, 1, success=False))
    detected.observe(TruthSample(4, 60, 2, success=True))
    assert detected.result is not None
    assert (detected.result.outcome, detected.result.steps, detected.result.end_ns) == (Outcome.SUCCEEDED, 60, 2)


def test_when_truth_is_of_the_old_scene_expect_it_is_ignored() -> None:
    detected = detectors("sim_truth")
    detected.observe(TruthSample(3, 60, 2, success=True))
    assert detected.result is None


def test_when_someone_else_resets_the_simulator_expect_abort() -> None:
    detected = detectors("sim_truth")
    detected.observe(TruthSample(5, 0, 2, success=False))
    assert detected.result is not None
    assert detected.result.outcome is Outcome.ABORTED


@pytest.mark.parametrize(("tick", "over"), [(159, False), (160, True), (400, True)])
def test_when_ticks_run_out_expect_time_out_by_tick_count(tick: int, over: bool) -> None:  # noqa: FBT001
    detected = detectors("sim_truth")
    detected.observe(TruthSample(4, tick, 2, success=False))
    assert (detected.result is not None and detected.result.outcome is Outcome.TIMED_OUT) is over


def test_when_success_comes_with_the_last_tick_expect_success() -> None:
    detected = detectors("sim_truth")
    detected.observe(TruthSample(4, 160, 2, success=True))
    assert detected.result is not None
    assert detected.result.outcome is Outcome.SUCCEEDED


def test_when_the_world_ran_before_the_arm_was_let_go_expect_those_ticks_do_not_count() -> None:
    detected = detectors("sim_truth", settings=DetectorSettings(max_steps=100, reset_id=1, start_tick=50))
    detected.observe(TruthSample(1, 149, 2, success=False))
    assert detected.result is None
    detected.observe(TruthSample(1, 150, 3, success=False))
    assert detected.result is not None
    assert detected.result.steps == 100


def test_when_a_verdict_stands_expect_later_events_do_not_change_it() -> None:
    detected = detectors("sim_truth")
    detected.observe(TruthSample(4, 10, 1, success=True))
    detected.observe(TruthSample(5, 0, 2, success=False))
    assert detected.result is not None
    assert detected.result.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(("mark", "outcome"), [(Mark.SUCCESS, Outcome.SUCCEEDED), (Mark.FAILURE, Outcome.FAILED)])
def test_when_operator_marks_expect_that_outcome_with_the_steps_so_far(mark: Mark, outcome: Outcome) -> None:
    detected = detectors("operator")
    detected.observe(StepCount(33, 5))
    detected.observe(MarkEvent(Mark.RESET, 6))
    detected.observe(MarkEvent(mark, 7))
    assert detected.result is not None
    assert (detected.result.outcome, detected.result.steps) == (outcome, 33)


def test_when_operator_aborts_expect_abort_whoever_judges() -> None:
    detected = detectors("sim_truth")
    detected.observe(MarkEvent(Mark.ABORT, 7))
    assert detected.result is not None
    assert detected.result.outcome is Outcome.ABORTED


def test_when_nobody_marks_expect_time_out_by_executed_steps() -> None:
    detected = detectors("operator")
    detected.observe(StepCount(160, 5))
    assert detected.result is not None
    assert detected.result.outcome is Outcome.TIMED_OUT


def test_when_classifier_is_sure_twice_in_a_row_expect_success() -> None:
    detected = detectors("classifier")
    for probability in (0.95, 0.2, math.nan, 0.95):
        detected.observe(Score(probability, 1))
        assert detected.result is None
    detected.observe(Score(0.91, 2))
    assert detected.result is not None
    assert detected.result.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("sources", [[], ["oracle"]])
def test_when_the_source_is_unknown_expect_refusal(sources: list[str]) -> None:
    with pytest.raises(ValueError, match="choose from"):
        DetectorPanel(sources, SETTINGS)


def test_when_an_operator_judges_in_a_simulator_expect_the_ticks_so_far_as_steps() -> None:
    detected = detectors("sim_truth", "operator", settings=DetectorSettings(max_steps=160, reset_id=4, start_tick=10))
    detected.observe(TruthSample(3, 159, 1, success=False))
    detected.observe(TruthSample(4, 52, 2, success=False))
    detected.observe(MarkEvent(Mark.SUCCESS, 3))
    assert detected.result is not None
    assert (detected.result.outcome, detected.result.steps, detected.result.source) == (
        Outcome.SUCCEEDED,
        42,
        "operator",
    )
