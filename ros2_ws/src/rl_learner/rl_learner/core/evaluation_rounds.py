# SPDX-License-Identifier: Apache-2.0
"""Rounds of evaluation in the course of a run in process: when the next one is due, and what came of each."""

from __future__ import annotations

from dataclasses import dataclass

from rl_learner.core.evaluation_plan import EvaluationPlan

EVALUATION_SEED = 20_000  # of rounds on the way: none of the scenes on which results are reported
_S_PER_MIN = 60.0


@dataclass(frozen=True)
class EvaluationPoint:
    """A round of evaluation in the course of a run.

    Attributes:
        robot_min: Robot time when it was over, evaluations included.
        successes: Without help.
        episodes: Of the round.
        verdict: What it said of the weights, empty for the base's own episodes.
    """

    robot_min: float
    successes: int
    episodes: int
    verdict: str = ""


class EvaluationRounds:
    """The rounds of one run; no scene is played in two of them.

    Args:
        plan: When there is one.
        dt_s: Of a control step.

    Attributes:
        curve: Success without help so far: the base's first, then of each round.
        steps: Control steps of all rounds.
    """

    def __init__(self, plan: EvaluationPlan, dt_s: float) -> None:
        self._plan, self._dt_s = plan, dt_s
        self.curve: list[EvaluationPoint] = []
        self.steps = 0
        self._trained_steps = 0  # control steps of training at the last round
        self._episodes = 0

    def is_due(self, trained_steps: int, *, is_last: bool) -> bool:
        """Whether to play one now.

        Args:
            trained_steps: Control steps of training so far.
            is_last: Whether there are no more to come.
        """
        if not self._plan.every_min:
            return False
        minutes = (trained_steps - self._trained_steps) * self._dt_s / _S_PER_MIN
        return is_last or not self.curve or minutes >= self._plan.every_min

    def begin(self, trained_steps: int) -> range:
        """Begin a round; returns the seeds of its scenes."""
        self._trained_steps = trained_steps
        first = EVALUATION_SEED + self._episodes
        self._episodes += self._plan.episodes
        return range(first, first + self._plan.episodes)

    def add(self, point: EvaluationPoint) -> None:
        """Note what came of a round."""
        self.curve.append(point)
