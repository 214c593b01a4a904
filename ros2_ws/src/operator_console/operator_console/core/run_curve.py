# SPDX-License-Identifier: Apache-2.0
"""The learning curve of a run, as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whetstone_common.core.success_rate import Rate
from whetstone_common.core.training_log import TrainingEpisode, last_episodes, minutes_after, success_alone


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
    rounds, trained = success_alone(episodes), last_episodes(episodes)
    return RunCurve(
        success=tuple((point.robot_min, point.rate) for point in rounds)
        or tuple((point.robot_min, point.rate) for point in trained if point.rate.episodes),
        is_alone=bool(rounds),
        base=rounds[0].rate.rate if rounds and rounds[0].of_base else None,
        human=tuple((point.robot_min, point.summary.human_share) for point in trained),
        value=tuple(
            (minutes, episode.q_mean)
            for minutes, episode in zip(minutes_after(episodes), episodes, strict=True)
            if episode.q_mean is not None
        ),
    )
