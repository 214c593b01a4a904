# SPDX-License-Identifier: Apache-2.0
"""Rounds of evaluation are due by the robot time of training, and never play a scene twice."""

from __future__ import annotations

from rl_learner.core.evaluation_plan import EvaluationPlan
from rl_learner.core.evaluation_rounds import EVALUATION_SEED, EvaluationPoint, EvaluationRounds

DT_S = 0.5


def test_when_rounds_follow_each_other_expect_other_scenes_in_each():
    rounds = EvaluationRounds(EvaluationPlan(every_min=1.0, episodes=3), DT_S)
    assert list(rounds.begin(0)) == [EVALUATION_SEED, EVALUATION_SEED + 1, EVALUATION_SEED + 2]
    assert list(rounds.begin(0)) == [EVALUATION_SEED + 3, EVALUATION_SEED + 4, EVALUATION_SEED + 5]


def test_when_the_minutes_of_training_are_over_since_the_last_round_expect_the_next():
    rounds = EvaluationRounds(EvaluationPlan(every_min=1.0, episodes=3), DT_S)
    assert rounds.is_due(0, is_last=False), "the first round does not wait"
    rounds.begin(100)
    rounds.add(EvaluationPoint(1.0, 2, 3))
    assert not rounds.is_due(219, is_last=False)
    assert rounds.is_due(220, is_last=False)
    assert rounds.is_due(101, is_last=True)


def test_when_no_rounds_are_planned_expect_none_even_at_the_end():
    rounds = EvaluationRounds(EvaluationPlan(), DT_S)
    assert not rounds.is_due(10_000, is_last=True)
