# SPDX-License-Identifier: Apache-2.0
"""Rounds of evaluation of a run that learns: the weights of a round stay published until it is over."""

from __future__ import annotations

from collections import deque

from torch import Tensor

from rl_learner.core.training_run import TrainingRun

LONGEST_S = 1800.0  # then whoever evaluates has gone


class EvaluationTrials:
    """The round that is played, and what was announced of others; one thread announces, another one acts.

    Attributes:
        weights: That are evaluated, None between two rounds.
        is_evaluating: Whether those weights are published.
    """

    def __init__(self) -> None:
        self._announced: deque[tuple[int, int] | None] = deque()  # None begins a round, counts end it
        self.weights: dict[str, Tensor] | None = None
        self._began_s = 0.0
        self.is_evaluating = False

    def announce_begin(self) -> None:
        """A round begins."""
        self._announced.append(None)

    def announce_end(self, successes: int, episodes: int) -> None:
        """A round is over; no episodes say nothing.

        Raises:
            ValueError: The counts cannot be.
        """
        if not 0 <= successes <= episodes:
            raise ValueError(f"{successes} successes of {episodes} episodes")
        self._announced.append((successes, episodes))

    def advance(self, run: TrainingRun, now_s: float) -> bool | None:
        """Do what was announced next.

        Returns:
            Whether weights are to be published now; None when nothing was announced.
        """
        if self.weights is not None and now_s - self._began_s > LONGEST_S:
            self._announced.append((0, 0))
        if not self._announced:
            return None
        counts = self._announced.popleft()
        if counts is None and run.ready:
            self.weights, self._began_s = run.learner.policy_weights(), now_s
            return True
        if counts is not None and self.weights is not None:
            if counts[1]:
                run.on_evaluation(*counts, self.weights)
            self.weights = None
            return run.ready
        return False
