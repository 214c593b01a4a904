# SPDX-License-Identifier: Apache-2.0
"""The learning curve of a run, as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whetstone_common.core.success_rate import Rate, wilson
from whetstone_common.core.training_log import LAST, TrainingEpisode, success_alone

_S_PER_MIN = 60.0


@dataclass(frozen=True)
class RunCurve:
    """Figures over robot time (min); all shares 0..1.

    Attributes:
        success: Time and success rate with its interval: of the rounds of evaluation when there are some, else of the
            last episodes.
        is_alone: Whether success is that of rounds of evaluation, without any help.
        base: What the base policy did by itself before the first round, None without rounds or such episodes.
        human: Time and share of the steps of the last episodes that a human commanded.
        value: Time and mean value that the critic gave, without the episodes at which there was none.
    """

    success: tuple[tuple[float, Rate], ...] = ()
    is_alone: bool = False
    base: float | None = None
    human: tuple[tuple[float, float], ...] = ()
    value: tuple[tuple[float, float], ...] = ()

    @property
    def newest(self) -> Rate | None:
        """Newest success rate, None before there is one."""
        return self.success[-1][1] if self.success else None


def curve_of(episodes: Sequence[TrainingEpisode]) -> RunCurve:
    """Curve of the episodes of a run, in order."""
    rounds = success_alone(episodes)
    trained = _last_episodes(episodes)
    success = [(minutes, _rate(last)) for minutes, last in trained]
    return RunCurve(
        success=tuple((point.robot_min, point.rate) for point in rounds)
        or tuple(point for point in success if point[1].episodes),
        is_alone=bool(rounds),
        base=rounds[0].rate.rate if rounds and rounds[0].of_base else None,
        human=tuple((minutes, _human_share(last)) for minutes, last in trained),
        value=_values(episodes),
    )


def _last_episodes(episodes: Sequence[TrainingEpisode]) -> list[tuple[float, list[TrainingEpisode]]]:
    """Robot time after each episode of training, with the last of them at that time."""
    robot_s, trained, points = 0.0, list[TrainingEpisode](), []
    for episode in episodes:
        if not episode.counts:
            continue
        robot_s += episode.duration_s
        if not episode.evaluation:
            trained.append(episode)
            points.append((robot_s / _S_PER_MIN, trained[-LAST:]))
    return points


def _rate(episodes: Sequence[TrainingEpisode]) -> Rate:
    judged = [episode for episode in episodes if episode.judged]
    return wilson(sum(episode.success for episode in judged), len(judged))


def _human_share(episodes: Sequence[TrainingEpisode]) -> float:
    steps = sum(episode.steps for episode in episodes)
    return sum(episode.human_steps for episode in episodes) / steps if steps else 0.0


def _values(episodes: Sequence[TrainingEpisode]) -> tuple[tuple[float, float], ...]:
    robot_s, points = 0.0, []
    for episode in episodes:
        robot_s += episode.duration_s if episode.counts else 0.0
        if episode.q_mean is not None:
            points.append((robot_s / _S_PER_MIN, episode.q_mean))
    return tuple(points)
