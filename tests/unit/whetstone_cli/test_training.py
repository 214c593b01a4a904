# SPDX-License-Identifier: Apache-2.0
"""A training run's books: what is kept, what is left, and that evaluations never see its scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.train_episodes import episode
from whetstone_cli.core.training import (
    FIRST_TRAINING_SEED,
    SEEDS_PER_RUN,
    Budget,
    TrainingLog,
    evaluation_is_due,
    evaluation_seed,
    training_seed,
)
from whetstone_common.core.success_rate import wilson
from whetstone_common.core.training_log import TrainingEpisode, TrainingError, success_alone, summarize


def test_when_a_log_is_opened_again_expect_the_same_episodes(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "run" / "episodes.jsonl")
    written = [episode(1), episode(2, "timed_out", q_mean=0.5)]
    for each in written:
        log.append(each)
    assert TrainingLog(log.path).episodes == written == log.episodes


@pytest.mark.parametrize("kept", [1, 17, 60])
def test_when_the_last_line_was_cut_short_expect_it_gone_and_the_next_one_whole(tmp_path: Path, kept: int) -> None:
    log = TrainingLog(tmp_path / "episodes.jsonl")
    log.append(episode(1))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + whole[:kept])
    again = TrainingLog(log.path)
    assert again.episodes == [episode(1)]
    assert (tmp_path / f"episodes.jsonl.damaged-{len(whole)}").read_bytes() == whole[:kept]
    again.append(episode(2))
    assert TrainingLog(log.path).episodes == [episode(1), episode(2)]


@pytest.mark.parametrize("line", ["[]", '{"episode": 1}', "nonsense"])
def test_when_a_whole_line_makes_no_sense_expect_refusal_that_names_it(tmp_path: Path, line: str) -> None:
    log = TrainingLog(tmp_path / "episodes.jsonl")
    log.append(episode(1))
    log.path.write_text(log.path.read_text() + line + "\n")
    with pytest.raises(TrainingError, match="line 2"):
        TrainingLog(log.path)


def test_when_a_line_is_no_text_expect_refusal_that_names_it(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "episodes.jsonl")
    log.append(episode(1))
    log.path.write_bytes(b"\xff\xfe\n" + log.path.read_bytes())
    with pytest.raises(TrainingError, match="line 1"):
        TrainingLog(log.path)


def test_when_episodes_are_added_up_expect_the_last_twenty_judged_ones_to_make_the_rate() -> None:
    old = [episode(n, "failed") for n in range(1, 31)]
    new = [episode(n, "succeeded", human_steps=50 if n % 2 else 0) for n in range(31, 51)]
    aborted = [episode(51, "aborted", steps=10, duration_s=1.0)]
    sums = summarize([*old, *new, *aborted])
    assert (sums.episodes, sums.success, sums.alone, sums.edited) == (51, 1.0, 0.5, 0.25)
    assert sums.steps == 5010
    assert sums.robot_s == pytest.approx(251.0)
    assert sums.human_share == pytest.approx(500 / 5010)


def test_when_an_episode_was_not_stored_expect_it_counted_as_lost_and_not_as_robot_time_used() -> None:
    sums = summarize([episode(1), episode(2, stored=False), episode(3, "aborted", stored=False)])
    assert (sums.episodes, sums.lost, sums.steps) == (3, 1, 200)
    assert Budget(1.0, 400).spent(sums) == pytest.approx(0.5)


def test_when_a_log_is_of_before_episodes_said_whether_they_are_stored_expect_them_to_be(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "episodes.jsonl")
    log.append(episode(1))
    text = log.path.read_text()
    assert ', "stored": true' in text
    log.path.write_text(text.replace(', "stored": true', ""))
    assert TrainingLog(log.path).episodes == [episode(1)]


def test_when_nothing_was_played_expect_no_rate_and_nothing_spent() -> None:
    sums = summarize([])
    assert sums.success is None and sums.edited is None
    assert Budget(10.0, 1000).spent(sums) == 0.0


@pytest.mark.parametrize(("minutes", "steps", "share"), [(1.0, 0, 0.25), (1.0, 400, 0.75), (0.1, 0, 1.0)])
def test_when_a_budget_has_two_bounds_expect_the_nearer_one_to_count(minutes: float, steps: int, share: float) -> None:
    assert Budget(minutes, steps).spent(summarize([episode(n) for n in (1, 2, 3)])) == pytest.approx(share)


def test_when_runs_have_other_seeds_expect_scenes_that_never_meet() -> None:
    assert training_seed(0, 1) == FIRST_TRAINING_SEED
    assert training_seed(0, SEEDS_PER_RUN) + 1 == training_seed(1, 1)


@pytest.mark.parametrize(("run_seed", "number"), [(0, 0), (0, SEEDS_PER_RUN + 1), (5000, 1)])
def test_when_a_scene_has_no_seed_expect_refusal_with_the_range(run_seed: int, number: int) -> None:
    with pytest.raises(TrainingError, match="allowed"):
        training_seed(run_seed, number)


def by_itself(number: int, outcome: str = "succeeded", **changes: Any) -> TrainingEpisode:
    """An episode of a round of evaluation."""
    return episode(number, outcome, **({"evaluation": True, "stored": False, "policy_version": 3} | changes))


def test_when_evaluations_are_among_the_episodes_expect_their_time_and_nothing_else_of_them_in_the_sums() -> None:
    training = [episode(1), episode(2, "timed_out")]
    sums, alone = summarize([*training, by_itself(3), by_itself(4, "timed_out")]), summarize(training)
    assert sums == replace(alone, robot_s=alone.robot_s + 10.0)
    assert sums.lost == 0


def test_when_rounds_were_played_expect_the_base_and_each_of_them_with_its_time_and_interval() -> None:
    base = [episode(1), episode(2, human_steps=10), episode(3, "timed_out"), episode(4)]
    learnt = [episode(7, policy_version=3), episode(8, policy_version=4)]
    points = success_alone([*base, by_itself(5), by_itself(6, human_steps=1), *learnt, by_itself(9), by_itself(10)])
    assert [(p.rate.successes, p.rate.episodes, p.of_base) for p in points] == [
        (2, 4, True),
        (1, 2, False),
        (2, 2, False),
    ]
    assert [p.robot_min for p in points] == pytest.approx([20 / 60, 30 / 60, 50 / 60])
    assert points[0].rate == wilson(2, 4)
    assert success_alone(base) == [], "a run without rounds has no such curve"


def test_when_a_round_was_aborted_expect_no_point_of_it() -> None:
    assert [p.rate.episodes for p in success_alone([episode(1), by_itself(2, "aborted"), episode(3)])] == [1]


def test_when_rounds_are_wanted_expect_the_first_at_once_and_the_next_after_so_much_training() -> None:
    before = [episode(1)]
    assert evaluation_is_due(before, 0.25) and not evaluation_is_due(before, 0.0)
    since = [*before, by_itself(2), episode(3), episode(4)]
    assert not evaluation_is_due(since, 0.25)
    assert evaluation_is_due([*since, episode(5)], 0.25)


def test_when_a_run_evaluates_itself_expect_scenes_that_neither_training_nor_results_have() -> None:
    assert training_seed(0, 1000) < evaluation_seed(0, 1) < evaluation_seed(0, 2) < training_seed(1, 1)
