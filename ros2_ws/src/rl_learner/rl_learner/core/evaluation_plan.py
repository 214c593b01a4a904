# SPDX-License-Identifier: Apache-2.0
"""When a training run evaluates its policy."""

from __future__ import annotations

from dataclasses import dataclass

MOST_MINUTES, MOST_EPISODES = 10_000.0, 1000


@dataclass(frozen=True)
class EvaluationPlan:
    """When the policy plays by itself, without help and without exploration; no data of training, but robot time.

    Attributes:
        every_min: Robot minutes of training between two rounds, 0 for no rounds.
        episodes: Of a round.
    """

    every_min: float = 0.0
    episodes: int = 8

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        if not 0.0 <= self.every_min <= MOST_MINUTES:
            raise ValueError(f"every_min is {self.every_min}, allowed: 0 for never, to {MOST_MINUTES:.0f}")
        if not 1 <= self.episodes <= MOST_EPISODES:
            raise ValueError(f"episodes is {self.episodes}, allowed: 1..{MOST_EPISODES}")
