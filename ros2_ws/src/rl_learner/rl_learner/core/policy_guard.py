# SPDX-License-Identifier: Apache-2.0
"""Keeps a run from playing weights that do far worse than its base.

Evaluation episodes, without help and without exploration, are compared with what the base did by itself. Weights that
do worse beyond chance are withdrawn: the last that were confirmed play in their place, or the base, while the learner
goes on. Its newest weights are tried again in each later round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from torch import Tensor

CHANCE = 0.05  # of withdrawing weights that are as good as the base, per look
POOLED = 2  # rounds in a row that are looked at together: one alone has few episodes


class Verdict(Enum):
    """What an evaluation says of the newest weights."""

    CONFIRMED = "confirmed"  # at least as good as the base
    UNDECIDED = "undecided"  # worse than the base, within chance
    WITHDRAWN = "withdrawn"  # worse than the base beyond chance


@dataclass(frozen=True)
class EvaluationRound:
    """Episodes that the newest weights played by themselves.

    Attributes:
        successes: Of them.
        episodes: How many.
        updates: Of the learner, when they were played.
        steps: Control steps of training before them.
        verdict: Of the weights, a value of `Verdict`.
    """

    successes: int
    episodes: int
    updates: int
    steps: int
    verdict: str


def chance_of_fewer(successes: int, episodes: int, base_successes: int, base_episodes: int) -> float:
    """One-sided p of Fisher's exact test: so few successes or fewer, were both equally good; 1 without a base."""
    # Importing SciPy takes long, and a run without rounds of evaluation never needs it.
    from scipy.stats import hypergeom

    total, wins = episodes + base_episodes, successes + base_successes
    return float(hypergeom.cdf(successes, total, wins, episodes))


class PolicyGuard:
    """Which weights may play.

    Attributes:
        base_successes: Episodes that the base did by itself, without help.
        base_episodes: All that it played; one that needed help counts as not done.
        rounds: Evaluations so far.
        is_withdrawn: Whether the newest weights do not play.
    """

    def __init__(self) -> None:
        """Nothing is known, and everything may play."""
        self.base_successes = self.base_episodes = 0
        self.rounds: list[EvaluationRound] = []
        self.is_withdrawn = False
        self._pooled: list[tuple[int, int]] = []
        self._confirmed: dict[str, Tensor] = {}

    def on_base_episode(self, *, success: bool) -> None:
        """Count an episode of the base; success means without help."""
        self.base_successes += success
        self.base_episodes += 1

    def on_evaluation(self, successes: int, episodes: int, weights: Mapping[str, Tensor], **when: int) -> Verdict:
        """Judge the newest weights by a round of episodes.

        Args:
            successes: Of the round.
            episodes: Of the round, at least 1.
            weights: That played it; kept when they are confirmed.
            **when: `updates` and `steps` of the round.

        Raises:
            ValueError: The counts cannot be.
        """
        if not 0 <= successes <= episodes or episodes < 1:
            raise ValueError(f"{successes} successes of {episodes} episodes, expected 0 to as many, of 1 or more")
        self._pooled = [*self._pooled, (successes, episodes)][-POOLED:]
        verdict = self._verdict()
        if verdict is Verdict.CONFIRMED:
            self._confirmed, self.is_withdrawn = dict(weights), False
        elif verdict is Verdict.WITHDRAWN:
            self.is_withdrawn = True
        if self.is_withdrawn:
            self._pooled = []  # other weights will be tried next
        self.rounds.append(EvaluationRound(successes, episodes, verdict=verdict.value, **when))
        return verdict

    def _verdict(self) -> Verdict:
        successes, episodes = (sum(counts) for counts in zip(*self._pooled, strict=True))
        if successes * self.base_episodes >= self.base_successes * episodes:
            return Verdict.CONFIRMED
        p = chance_of_fewer(successes, episodes, self.base_successes, self.base_episodes)
        return Verdict.WITHDRAWN if p < CHANCE else Verdict.UNDECIDED

    def playing(self, newest: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights that may play; none for the base."""
        return self._confirmed if self.is_withdrawn else newest

    @property
    def text(self) -> str:
        """What a person should know; empty while the newest weights play."""
        if not self.is_withdrawn:
            return ""
        last = self.rounds[-1]
        plays = "the last confirmed weights play" if self._confirmed else "the base plays"
        return (
            f"weights withdrawn, {plays}: {last.successes} of {last.episodes} episodes alone, "
            f"the base {self.base_successes} of {self.base_episodes}"
        )

    # -- as a checkpoint ----------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """The confirmed weights, by name."""
        return dict(self._confirmed)

    def notes(self) -> dict[str, Any]:
        """Everything else, as JSON can hold it."""
        return {
            "base": [self.base_successes, self.base_episodes],
            "rounds": [asdict(each) for each in self.rounds],
            "pooled": self._pooled,
            "is_withdrawn": self.is_withdrawn,
        }

    def restore(self, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Take back what `tensors` and `notes` gave."""
        self.base_successes, self.base_episodes = notes["base"]
        self.rounds = [EvaluationRound(**each) for each in notes["rounds"]]
        self._pooled = [(successes, episodes) for successes, episodes in notes["pooled"]]
        self.is_withdrawn, self._confirmed = notes["is_withdrawn"], dict(tensors)
