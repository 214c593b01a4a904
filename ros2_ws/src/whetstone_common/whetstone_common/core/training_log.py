# SPDX-License-Identifier: Apache-2.0
"""Episodes of a training run as its folder keeps them, and what they add up to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from itertools import accumulate
from typing import Any

from whetstone_common.core.success_rate import Rate, wilson

EPISODES_FILE = "episodes.jsonl"
LAST = 20
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
        human_steps: Steps under human control.
        decisions: Chunks that were chosen.
        edited: Of them, those that were not a candidate as the VLA made it.
        policy_version: Of the newest decision; 0 is the base.
        updates: Of the learner, at the end of the episode.
        q_mean: Mean value of what the learner was given, NaN is stored as null.
        wall_s: Wall time of the run at the end of the episode, all its sessions together.
        stored: Whether its transitions are on the disk; an aborted one has none to store.
        evaluation: Played by the newest weights themselves; nothing is learnt from it, but it takes robot time.
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
    evaluation: bool = False

    @property
    def alone(self) -> bool:
        """Whether it succeeded without help."""
        return self.success and self.human_steps == 0

    @property
    def judged(self) -> bool:
        """Whether it says something about the policy."""
        return self.outcome != "aborted"

    @property
    def counts(self) -> bool:
        """Whether it is part of what was learnt from, and of the robot time that was used for it."""
        return self.stored or self.evaluation or not self.judged


@dataclass(frozen=True)
class TrainingSummary:
    """What episodes add up to.

    Attributes:
        episodes: How many, without evaluations.
        lost: Of them, those that were judged and not stored; nothing below counts them.
        steps: Ticks of all.
        robot_s: ROS time of all, evaluations included.
        human_share: Fraction of all steps under human control.
        success: Share of the last 20 judged episodes, None without any.
        alone: Successes among them without any human control, as a fraction of all of them.
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


def summarize(episodes: Sequence[TrainingEpisode]) -> TrainingSummary:
    """Add episodes up."""
    robot_s = sum(episode.duration_s for episode in episodes if episode.counts)
    training = [episode for episode in episodes if not episode.evaluation]
    total, episodes = len(training), [episode for episode in training if episode.counts]
    last = [episode for episode in episodes if episode.judged][-LAST:]
    steps = sum(episode.steps for episode in episodes)
    decisions = sum(episode.decisions for episode in last)
    return TrainingSummary(
        episodes=total,
        lost=total - len(episodes),
        steps=steps,
        robot_s=robot_s,
        human_share=sum(episode.human_steps for episode in episodes) / steps if steps else 0.0,
        success=_mean([float(episode.success) for episode in last]),
        alone=_mean([float(episode.alone) for episode in last]),
        edited=sum(episode.edited for episode in last) / decisions if decisions else None,
    )


@dataclass(frozen=True)
class CurvePoint:
    """Success without help at a time of a run.

    Attributes:
        robot_min: When the last of its episodes was over.
        rate: With its interval.
        of_base: Whether the base played, and not learnt weights.
    """

    robot_min: float
    rate: Rate
    of_base: bool = False


def success_alone(episodes: Sequence[TrainingEpisode]) -> list[CurvePoint]:
    """What the base did by itself before anything was learnt, then each round of evaluation."""
    base, rounds = list[TrainingEpisode](), list[CurvePoint]()
    open_round, robot_s, base_s = list[TrainingEpisode](), 0.0, 0.0
    for episode in [*episodes, None]:
        if open_round and (episode is None or not episode.evaluation):
            rounds.append(_point(robot_s, open_round))
            open_round = []
        if episode is None or not episode.counts:
            continue
        robot_s += episode.duration_s
        if episode.evaluation:
            open_round.append(episode)
        elif episode.policy_version == 0 and not rounds:
            base, base_s = [*base, episode], robot_s
    first = [replace(_point(base_s, base), of_base=True)] if base and rounds else []
    return [*first, *(each for each in rounds if each.rate.episodes)]


@dataclass(frozen=True)
class LastEpisodes:
    """What the last episodes of training added up to after one of them.

    Attributes:
        robot_min: When that one was over.
        rate: Success of those that were judged, with its interval.
        summary: Of all of them.
    """

    robot_min: float
    rate: Rate
    summary: TrainingSummary


def last_episodes(episodes: Sequence[TrainingEpisode]) -> list[LastEpisodes]:
    """After each episode of training that counts, what the last 20 of them add up to."""
    trained, points = list[TrainingEpisode](), list[LastEpisodes]()
    for minutes, episode in zip(minutes_after(episodes), episodes, strict=True):
        if episode.counts and not episode.evaluation:
            trained.append(episode)
            judged = [each for each in trained[-LAST:] if each.judged]
            rate = wilson(sum(each.success for each in judged), len(judged))
            points.append(LastEpisodes(minutes, rate, summarize(trained[-LAST:])))
    return points


def minutes_after(episodes: Sequence[TrainingEpisode]) -> list[float]:
    """Robot time (min) that had been used after each episode."""
    durations_s = (episode.duration_s if episode.counts else 0.0 for episode in episodes)
    return [robot_s / _S_PER_MIN for robot_s in accumulate(durations_s)]


def _point(robot_s: float, episodes: Sequence[TrainingEpisode]) -> CurvePoint:
    judged = [episode for episode in episodes if episode.judged]
    return CurvePoint(robot_s / _S_PER_MIN, wilson(sum(episode.alone for episode in judged), len(judged)))


def whole_lines(data: bytes) -> bytes:
    """What of a log was written to its end; a crash may cut the last line short."""
    return data[: data.rfind(b"\n") + 1]


def read_episodes(data: bytes, name: str) -> list[TrainingEpisode]:
    """Episodes of the whole lines of a log.

    Args:
        data: Content of the file.
        name: Of the file, for what is said of a line that makes no sense.

    Raises:
        TrainingError: A whole line makes no sense.
    """
    episodes = []
    for number, line in enumerate(whole_lines(data).split(b"\n")[:-1], start=1):
        try:
            episodes.append(_episode(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise TrainingError(f"{name}, line {number}: {error}") from error
    return episodes


def _episode(body: dict[str, Any]) -> TrainingEpisode:
    names = {field.name: field.default is MISSING for field in fields(TrainingEpisode)}
    # Runs of before have no field that was added since.
    wrong = (set(body) - set(names)) | {name for name, is_needed in names.items() if is_needed and name not in body}
    if wrong:
        raise ValueError(f"keys {sorted(wrong)} are missing or unknown")
    return TrainingEpisode(**body)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
