# SPDX-License-Identifier: Apache-2.0
"""When the weights of a training run are published."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from rl_learner.core.training_run import TrainingRun

Publish = Callable[[TrainingRun, Mapping[str, Tensor]], None]


class WeightPublishing:
    """Publishes weights of one run, not too often.

    Args:
        run: Whose weights they are.
        publish: Takes weights of the run to whoever plays.
    """

    def __init__(self, run: TrainingRun, publish: Publish) -> None:
        self._run, self._publish = run, publish
        self._published_updates, self._published_s = -1, 0.0

    def is_due(self, now_s: float, period_s: float, every_updates: int) -> bool:
        """Whether there are other weights than the published ones, and enough time or updates between.

        Args:
            now_s: Steady time.
            period_s: Least time between two sets.
            every_updates: After so many updates a set is due even if the period is not over; 0 for never.
        """
        since = self._run.learner.updates - self._published_updates
        if not self._run.ready or since == 0:
            return False
        by_count = 0 < every_updates <= since
        return self._published_updates < 0 or by_count or now_s - self._published_s >= period_s

    def publish(self, weights: Mapping[str, Tensor] | None, now_s: float) -> None:
        """Publish those weights, or what the run would play."""
        self._publish(self._run, self._run.weights_to_play() if weights is None else weights)
        self._published_updates, self._published_s = self._run.learner.updates, now_s
