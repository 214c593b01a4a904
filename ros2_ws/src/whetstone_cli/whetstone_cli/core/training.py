# SPDX-License-Identifier: Apache-2.0
"""A training run as the command line carries it on: its log, its seeds, and the budget that is left."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from whetstone_common.core.training_log import (
    TrainingEpisode,
    TrainingError,
    TrainingSummary,
    read_episodes,
    whole_lines,
)

# Scenes of training lie far from those of evaluations, which count from small numbers.
FIRST_TRAINING_SEED = 100_000_000
SEEDS_PER_RUN = 1_000_000
_SEED_BOUND = 2**32
LAST_RUN_SEED = (_SEED_BOUND - FIRST_TRAINING_SEED) // SEEDS_PER_RUN - 1
_S_PER_MIN = 60.0


def evaluation_is_due(episodes: Sequence[TrainingEpisode], every_min: float) -> bool:
    """Whether learnt weights have played, or would now, for so many robot minutes of training without a round.

    Args:
        episodes: Of the run so far.
        every_min: 0 for never.
    """
    if not every_min:
        return False
    last = max((i for i, episode in enumerate(episodes) if episode.evaluation), default=-1)
    since = [episode for episode in episodes[last + 1 :] if episode.counts]
    return last < 0 or sum(episode.duration_s for episode in since) >= every_min * _S_PER_MIN


@dataclass(frozen=True)
class Budget:
    """When a run is over.

    Attributes:
        minutes: Of robot time.
        max_steps: Control steps, 0 for no bound.
    """

    minutes: float
    max_steps: int = 0

    def check(self) -> None:
        """Refuse a budget that would never be used up, or is none.

        Raises:
            TrainingError: It is not finite, or not positive.
        """
        if not (math.isfinite(self.minutes) and self.minutes > 0.0):
            raise TrainingError(f"minutes is {self.minutes}: allowed are finite numbers above 0")
        if self.max_steps < 0:
            raise TrainingError(f"max_steps is {self.max_steps}: allowed are 0 and more")

    def spent(self, so_far: TrainingSummary) -> float:
        """Share of the budget that is used up, 0 to 1."""
        shares = [so_far.robot_min / self.minutes]
        if self.max_steps:
            shares.append(so_far.steps / self.max_steps)
        return min(1.0, max(shares))


def training_seed(run_seed: int, episode: int) -> int:
    """Seed of an episode, counted from 1, of the run with a seed.

    Raises:
        TrainingError: The run has no seeds left, or its seed is too large.
    """
    seed = FIRST_TRAINING_SEED + SEEDS_PER_RUN * run_seed + episode - 1
    if not 1 <= episode <= SEEDS_PER_RUN or not seed < _SEED_BOUND:
        raise TrainingError(
            f"seed {run_seed}, episode {episode}: allowed are 0..{LAST_RUN_SEED} and 1..{SEEDS_PER_RUN}"
        )
    return seed


def evaluation_seed(run_seed: int, number: int) -> int:
    """Seed of an evaluation's episode, counted from 1: of the upper half of the run's, which training never reaches.

    Raises:
        TrainingError: The run has no seeds left, or its seed is too large.
    """
    return training_seed(run_seed, SEEDS_PER_RUN // 2 + number)


class TrainingLog:
    """episodes.jsonl of a run; grows by whole lines.

    Attributes:
        path: The file.
        episodes: Those in it.
        damaged_records: Stored transitions of the run that cannot be read, as transition_node said last.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there; a line that a crash has cut short is put aside.

        Raises:
            TrainingError: A whole line makes no sense.
        """
        self.path = path
        self.episodes: list[TrainingEpisode] = []
        self.damaged_records = 0
        if path.exists():
            self._read()

    def _read(self) -> None:
        data = self.path.read_bytes()
        self.episodes = read_episodes(data, str(self.path))
        whole = whole_lines(data)
        if len(whole) < len(data):
            self.path.with_name(f"{self.path.name}.damaged-{len(whole)}").write_bytes(data[len(whole) :])
            with self.path.open("r+b") as file:
                file.truncate(len(whole))

    def append(self, episode: TrainingEpisode) -> None:
        """Add a line; it is on the disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(episode), allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.episodes.append(episode)
