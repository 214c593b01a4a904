# SPDX-License-Identifier: Apache-2.0
"""Episodes since the console runs: the newest one, how they ended, how long they took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from whetstone_common.core.enums import Outcome
from whetstone_common.core.success_rate import Rate, wilson


@dataclass(frozen=True)
class EpisodeView:
    """The episode that runs, or ran last."""

    task: str = ""
    instruction: str = ""
    number: int = 0
    outcome: Outcome | None = None
    reason: str = ""


class EpisodeTally:
    """Counts episodes by outcome.

    Attributes:
        newest: That runs, or ran last.
        robot_s: Duration of all that have ended (s).
    """

    def __init__(self) -> None:
        """No episode yet."""
        self.newest = EpisodeView()
        self.robot_s = 0.0
        self._outcomes: Counter[Outcome] = Counter()

    def begin(self, episode: EpisodeView) -> None:
        """An episode runs."""
        self.newest = episode

    def end(self, episode: EpisodeView, outcome: Outcome, duration_s: float) -> None:
        """An episode has ended."""
        self.newest = episode
        self._outcomes[outcome] += 1
        self.robot_s += duration_s

    @property
    def outcomes(self) -> Mapping[Outcome, int]:
        """Episodes by outcome, as a copy."""
        return dict(self._outcomes)

    @property
    def rate(self) -> Rate:
        """Successes of the judged ones; an aborted episode is not judged."""
        judged = sum(count for outcome, count in self._outcomes.items() if outcome is not Outcome.ABORTED)
        return wilson(self._outcomes[Outcome.SUCCEEDED], judged)
