# SPDX-License-Identifier: Apache-2.0
"""A training run's books: what is kept, what is left, and that evaluations never see its scenes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.train_episodes import episode
from robot_bringup.core.training import (
    FIRST_TRAINING_SEED,
    SEEDS_PER_RUN,
    Budget,
    TrainingError,
    TrainingLog,
    tally,
    training_seed,
)


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
    sums = tally([*old, *new, *aborted])
    assert (sums.episodes, sums.success, sums.alone, sums.edited) == (51, 1.0, 0.5, 0.25)
    assert sums.steps == 5010
    assert sums.robot_s == pytest.approx(251.0)
    assert sums.human_share == pytest.approx(500 / 5010)


def test_when_an_episode_was_not_stored_expect_it_counted_as_lost_and_not_as_robot_time_used() -> None:
    sums = tally([episode(1), episode(2, stored=False), episode(3, "aborted", stored=False)])
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
    sums = tally([])
    assert sums.success is None and sums.edited is None
    assert Budget(10.0, 1000).spent(sums) == 0.0


@pytest.mark.parametrize(("minutes", "steps", "share"), [(1.0, 0, 0.25), (1.0, 400, 0.75), (0.1, 0, 1.0)])
def test_when_a_budget_has_two_bounds_expect_the_nearer_one_to_count(minutes: float, steps: int, share: float) -> None:
    assert Budget(minutes, steps).spent(tally([episode(n) for n in (1, 2, 3)])) == pytest.approx(share)


def test_when_runs_have_other_seeds_expect_scenes_that_never_meet() -> None:
    assert training_seed(0, 1) == FIRST_TRAINING_SEED
    assert training_seed(0, SEEDS_PER_RUN) + 1 == training_seed(1, 1)


@pytest.mark.parametrize(("run_seed", "number"), [(0, 0), (0, SEEDS_PER_RUN + 1), (5000, 1)])
def test_when_a_scene_has_no_seed_expect_refusal_with_the_range(run_seed: int, number: int) -> None:
    with pytest.raises(TrainingError, match="allowed"):
        training_seed(run_seed, number)
