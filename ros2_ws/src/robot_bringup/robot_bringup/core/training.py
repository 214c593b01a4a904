# SPDX-License-Identifier: Apache-2.0
"""A training run as the person at the command line sees it: episodes on disk, what is left, what they add up to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from robot_bringup.core.statistics import mean

LAST = 20
# Scenes of training lie far from those of evaluations, which count from small numbers.
FIRST_TRAINING_SEED = 100_000_000
SEEDS_PER_RUN = 1_000_000
_SEED_BOUND = 2**32
LAST_RUN_SEED = (_SEED_BOUND - FIRST_TRAINING_SEED) // SEEDS_PER_RUN - 1
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
        stored: Whether its transitions are on the disk; an aborted one has none to store.
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
    stored: bool = True

    @property
    def judged(self) -> bool:
        """Whether it says something about the policy."""
        return self.outcome != "aborted"

    @property
    def counts(self) -> bool:
        """Whether it is part of what was learnt from, and of the robot time that was used for it."""
        return self.stored or not self.judged


@dataclass(frozen=True)
class Tally:
    """What episodes add up to.

    Attributes:
        episodes: How many.
        lost: Of them, those that were judged and not stored; nothing below counts them.
        steps: Ticks of all.
        robot_s: ROS time of all.
        human_share: Of all steps, commanded by a person.
        success: Share of the last 20 judged episodes, None without any.
        alone: Successes among them in which no person took part, as a share of all of them.
        edited: Share of the choices in the last 20 episodes that were not the VLA's own.
    """

    episodes: int
    lost: int
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
    total, episodes = len(episodes), [episode for episode in episodes if episode.counts]
    last = [episode for episode in episodes if episode.judged][-LAST:]
    steps = sum(episode.steps for episode in episodes)
    decisions = sum(episode.decisions for episode in last)
    return Tally(
        episodes=total,
        lost=total - len(episodes),
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

    def check(self) -> None:
        """Refuse a budget that would never be used up, or is none.

        Raises:
            TrainingError: It is not finite, or not positive.
        """
        if not (math.isfinite(self.minutes) and self.minutes > 0.0):
            raise TrainingError(f"minutes is {self.minutes}: allowed are finite numbers above 0")
        if self.max_steps < 0:
            raise TrainingError(f"max_steps is {self.max_steps}: allowed are 0 and more")

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
        raise TrainingError(
            f"seed {run_seed}, episode {episode}: allowed are 0..{LAST_RUN_SEED} and 1..{SEEDS_PER_RUN}"
        )
    return seed


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
        whole = data[: data.rfind(b"\n") + 1]
        for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
            try:
                self.episodes.append(_episode(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                raise TrainingError(f"{self.path}, line {number}: {error}") from error
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


def _episode(body: dict[str, Any]) -> TrainingEpisode:
    names = {field.name: field.default is MISSING for field in fields(TrainingEpisode)}
    # Runs of before have no field that was added since.
    wrong = (set(body) - set(names)) | {name for name, is_needed in names.items() if is_needed and name not in body}
    if wrong:
        raise ValueError(f"keys {sorted(wrong)} are missing or unknown")
    return TrainingEpisode(**body)
