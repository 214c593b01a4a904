# SPDX-License-Identifier: Apache-2.0
"""Weights that do far worse than the base are withdrawn, by rounds of evaluation episodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.stats import fisher_exact

from fakes.rl_runs import SMALL, episode, feed, finish, recipe, session
from rl_learner.core.checkpoint import load, save
from rl_learner.core.evaluation_plan import EvaluationPlan
from rl_learner.core.in_process import InProcessTraining
from rl_learner.core.policy_guard import PolicyGuard, Verdict, chance_of_fewer
from rl_learner.core.rollout.rollout import Rollout, RolloutRules
from rl_methods.base import ChunkSource
from unit.rl_learner.test_rollout import Table
from vla_policy.core.backends.fake import FakeBackend, FakeScript

NEWEST, OLDER = {"w": torch.ones(1)}, {"w": torch.zeros(1)}
WHEN = {"updates": 1, "steps": 1}


def guarded(successes: int, episodes: int) -> PolicyGuard:
    guard = PolicyGuard()
    for number in range(episodes):
        guard.on_base_episode(success=number < successes)
    return guard


@pytest.mark.parametrize("counts", [(0, 8, 16, 20), (3, 8, 16, 20), (8, 8, 16, 20), (5, 10, 5, 10), (2, 2, 0, 9)])
def test_when_two_counts_are_compared_expect_fishers_one_sided_test(counts: tuple[int, int, int, int]) -> None:
    wins, count, base_wins, base_count = counts
    table = [[wins, count - wins], [base_wins, base_count - base_wins]]
    assert chance_of_fewer(*counts) == pytest.approx(fisher_exact(table, alternative="less").pvalue)


def test_when_weights_do_as_well_as_the_base_expect_them_to_play_on() -> None:
    guard = guarded(16, 20)
    assert guard.on_evaluation(7, 8, NEWEST, **WHEN) is Verdict.CONFIRMED
    assert guard.on_evaluation(5, 8, NEWEST, **WHEN) is Verdict.UNDECIDED
    assert not guard.is_withdrawn and guard.playing(OLDER) is OLDER and guard.text == ""


def test_when_weights_do_far_worse_expect_the_base_until_newer_ones_are_as_good() -> None:
    guard = guarded(16, 20)
    assert guard.on_evaluation(1, 8, NEWEST, **WHEN) is Verdict.WITHDRAWN
    assert guard.playing(NEWEST) == {}
    assert guard.text == "weights withdrawn, the base plays: 1 of 8 episodes alone, the base 16 of 20"
    assert guard.on_evaluation(5, 8, NEWEST, **WHEN) is Verdict.UNDECIDED
    assert guard.playing(NEWEST) == {}, "what was withdrawn comes back when it is confirmed"
    assert guard.on_evaluation(7, 8, NEWEST, **WHEN) is Verdict.CONFIRMED
    assert guard.playing(NEWEST) is NEWEST


def test_when_weights_were_confirmed_before_expect_them_in_place_of_bad_ones() -> None:
    guard = guarded(16, 20)
    guard.on_evaluation(8, 8, OLDER, **WHEN)
    guard.on_evaluation(3, 8, NEWEST, **WHEN)
    assert guard.on_evaluation(2, 8, NEWEST, **WHEN) is Verdict.WITHDRAWN, "rounds in a row are looked at together"
    assert guard.playing(NEWEST) == OLDER
    assert "the last confirmed weights play" in guard.text


def test_when_there_is_nothing_to_compare_with_expect_nothing_withdrawn() -> None:
    assert PolicyGuard().on_evaluation(0, 8, NEWEST, **WHEN) is Verdict.CONFIRMED


@pytest.mark.parametrize("counts", [(9, 8), (-1, 8), (0, 0)])
def test_when_counts_cannot_be_expect_a_refusal(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="successes of"):
        PolicyGuard().on_evaluation(*counts, NEWEST, **WHEN)


@pytest.mark.parametrize(("cut", "whole"), [(2, 1), (1, 2)])
@pytest.mark.parametrize("steps", [4, 12])
def test_when_a_base_episode_is_cut_short_expect_the_next_one_counted_once_as_what_it_is(
    tmp_path: Any, cut: int, whole: int, steps: int
) -> None:
    run = session(recipe(tmp_path, base_episodes=9))
    feed(run, [*episode(cut)[:-1], *episode(whole, steps)])
    assert run.tally.finished == 2
    assert (run.guard.base_successes, run.guard.base_episodes) == (whole % 2, 1)


def test_when_a_run_is_resumed_expect_the_guard_to_know_what_it_knew(tmp_path: Any) -> None:
    run = session(recipe(tmp_path))
    feed(run, [t for n in (1, 2) for t in episode(n)])
    assert (run.guard.base_successes, run.guard.base_episodes) == (1, 2)
    finish(run)
    for _ in range(18):
        run.guard.on_base_episode(success=True)
    run.on_evaluation(8, 8, run.learner.policy_weights())
    confirmed = run.weights_to_play()
    feed(run, episode(3), first=7)
    finish(run)
    assert run.on_evaluation(0, 8, run.learner.policy_weights()) is Verdict.WITHDRAWN
    resumed = session(recipe(tmp_path))
    resumed.restore(load(save(tmp_path / "c", run.snapshot())))
    assert resumed.guard.notes() == run.guard.notes()
    played = resumed.weights_to_play()
    assert played.keys() == confirmed.keys() and all(torch.equal(played[name], confirmed[name]) for name in played)


# -- in process: an actor that is made bad on purpose -----------------------------------------------------------------


def bad(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The edit policy drives every step to the lower end of its box: away from the goal of `Table`."""
    weights["edit.body.3.bias"].fill_(-100.0)
    return weights


@pytest.fixture
def training(tmp_path: Any) -> InProcessTraining:
    blocks = {name: dict(block) for name, block in SMALL.items()}
    blocks["expo"] |= {"margin": -2.0, "edit_scale": [0.2]}
    blocks["critic"] |= {"bounded": True}
    config = recipe(tmp_path, blocks, base_episodes=10, execute_steps=8)
    backend = FakeBackend(script=FakeScript("constant", 0.03))
    rollout = Rollout(Table(backend.spec), backend, RolloutRules(candidates=2, max_steps=60))
    return InProcessTraining(rollout, config, seed=0, evaluation=EvaluationPlan(every_min=0.1, episodes=6))


def test_when_an_actor_is_made_bad_on_purpose_expect_it_withdrawn_and_the_base_to_play(
    training: InProcessTraining,
) -> None:
    good = training.run.learner.policy_weights
    training.run.learner.policy_weights = lambda: bad(good())  # type: ignore[method-assign]
    while len(training.curve) < 2:
        training.train_once()
    base, first = training.curve
    assert (base.successes, base.episodes) == (10, 10)
    assert (first.successes, first.verdict) == (0, "withdrawn")
    assert "the base plays" in training.run.guard.text
    later = training.train_once()
    assert bool(later.success) and set(later.source) == {ChunkSource.BASE}
    assert training.curve[1].robot_min > training.curve[0].robot_min


def test_when_evaluations_are_played_expect_them_as_robot_time_and_not_as_data(training: InProcessTraining) -> None:
    training.run.learner.policy_weights()
    while len(training.curve) < 3:
        training.train_once()
    assert training.run.tally.steps == sum(e.steps for e in training.episodes)
    assert training.evaluation_steps > 0
    minutes = (training.run.tally.steps + training.evaluation_steps) * 0.05 / 60.0
    assert training.robot_min == pytest.approx(minutes)


def test_when_a_plan_cannot_be_expect_a_refusal_with_the_range() -> None:
    with pytest.raises(ValueError, match="every_min is nan"):
        EvaluationPlan(every_min=float("nan"))
    with pytest.raises(ValueError, match="episodes is 0"):
        replace(EvaluationPlan(), episodes=0)
