# SPDX-License-Identifier: Apache-2.0
"""A training run as the person at the command line sees it: episodes on disk, what is left, what they add up to."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from robot_bringup.core.statistics import mean

LAST = 20
# Scenes of training lie far from those of evaluations, which count from small numbers.
FIRST_TRAINING_SEED = 100_000_000
SEEDS_PER_RUN = 1_000_000
_SEED_BOUND = 2**32
_S_PER_MIN = 60.0


class TrainingError(ValueError):
    """A run that cannot be continued; the text says why."""


@dataclass(frozen=True)
class TrainingEpisode:
    """One line of episodes.jsonl.

    Attributes:
        episode: From 1 within the run.
        seed: Of scene and noise.
        outcome: succeeded, failed, timed_out or aborted.
        success: Whether it succeeded.
        steps: Ticks of the episode.
        duration_s: ROS time from the start to the end.
        human_steps: Steps that a person commanded.
        decisions: Chunks that were chosen.
        edited: Of them, those that were not a candidate as the VLA made it.
        policy_version: Of the newest decision; 0 is the base.
        updates: Of the learner, at the end of the episode.
        q_mean: Mean value of what the learner was given, NaN is stored as null.
        wall_s: Wall time of the run at the end of the episode, all its sessions together.
    """

    episode: int
    seed: int
    outcome: str
    success: bool
    steps: int
    duration_s: float
    human_steps: int
    decisions: int
    edited: int
    policy_version: int
    updates: int
    q_mean: float | None
    wall_s: float

    @property
    def judged(self) -> bool:
        """Whether it says something about the policy."""
        return self.outcome != "aborted"


@dataclass(frozen=True)
class Tally:
    """What episodes add up to.

    Attributes:
        episodes: How many.
        steps: Ticks of all.
        robot_s: ROS time of all.
        human_share: Of all steps, commanded by a person.
        success: Share of the last 20 judged episodes, None without any.
        alone: Successes among them in which no person took part, as a share of all of them.
        edited: Share of the choices in the last 20 episodes that were not the VLA's own.
    """

    episodes: int
    steps: int
    robot_s: float
    human_share: float
    success: float | None
    alone: float | None
    edited: float | None

    @property
    def robot_min(self) -> float:
        """Minutes of robot time."""
        return self.robot_s / _S_PER_MIN


def tally(episodes: Sequence[TrainingEpisode]) -> Tally:
    """Add episodes up."""
    last = [episode for episode in episodes if episode.judged][-LAST:]
    steps = sum(episode.steps for episode in episodes)
    decisions = sum(episode.decisions for episode in last)
    return Tally(
        episodes=len(episodes),
        steps=steps,
        robot_s=sum(episode.duration_s for episode in episodes),
        human_share=sum(episode.human_steps for episode in episodes) / steps if steps else 0.0,
        success=mean([float(episode.success) for episode in last]),
        alone=mean([float(episode.success and episode.human_steps == 0) for episode in last]),
        edited=sum(episode.edited for episode in last) / decisions if decisions else None,
    )


@dataclass(frozen=True)
class Budget:
    """When a run is over.

    Attributes:
        minutes: Of robot time.
        max_steps: Control steps, 0 for no bound.
    """

    minutes: float
    max_steps: int = 0

    def spent(self, so_far: Tally) -> float:
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
        last = (_SEED_BOUND - FIRST_TRAINING_SEED) // SEEDS_PER_RUN - 1
        raise TrainingError(f"seed {run_seed}, episode {episode}: allowed are 0..{last} and 1..{SEEDS_PER_RUN}")
    return seed


class TrainingLog:
    """episodes.jsonl of a run; grows by whole lines.

    Attributes:
        path: The file.
        episodes: Those in it.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there; a line that a crash has cut short is taken away.

        Raises:
            TrainingError: A whole line makes no sense.
        """
        self.path = path
        self.episodes: list[TrainingEpisode] = []
        if path.exists():
            self._read()

    def _read(self) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        for number, line in enumerate(whole.decode("utf-8").splitlines(), start=1):
            try:
                self.episodes.append(_episode(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                raise TrainingError(f"{self.path}, line {number}: {error}") from error
        if len(whole) < len(data):
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


def _episode(body: dict[str, Any]) -> TrainingEpisode:
    names = {field.name for field in fields(TrainingEpisode)}
    if set(body) != names:
        raise ValueError(f"keys {sorted(set(body) ^ names)} are missing or unknown")
    return TrainingEpisode(**body)
