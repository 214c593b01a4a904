# SPDX-License-Identifier: Apache-2.0
"""What the last episodes of a run add up to: one way for the page's curve and for curve.png."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes.train_episodes import episode
from whetstone_common.core.training_log import LAST, last_episodes, minutes_after


def test_when_episodes_follow_expect_the_last_twenty_of_training_after_each() -> None:
    episodes = [replace(episode(number), duration_s=6.0) for number in range(1, LAST + 1)]
    episodes += [replace(episode(LAST + 1, "failed"), duration_s=6.0)]
    points = last_episodes(episodes)
    assert [point.rate.episodes for point in points] == [*range(1, LAST + 1), LAST]
    assert (points[LAST - 1].rate.successes, points[LAST].rate.successes) == (LAST, LAST - 1)
    assert points[-1].robot_min == pytest.approx(0.1 * (LAST + 1))


def test_when_rounds_of_evaluation_lie_between_expect_their_time_and_not_their_outcome() -> None:
    episodes = [episode(1), replace(episode(2, "failed"), evaluation=True), episode(3)]
    points = last_episodes(episodes)
    assert [point.rate.episodes for point in points] == [1, 2] and points[-1].rate.rate == 1.0
    assert (
        points[-1].robot_min == minutes_after(episodes)[-1] == pytest.approx(sum(e.duration_s for e in episodes) / 60)
    )


def test_when_transitions_were_lost_expect_neither_time_nor_outcome_of_that_episode() -> None:
    episodes = [episode(1), replace(episode(2, "failed"), stored=False)]
    assert len(last_episodes(episodes)) == 1
    assert minutes_after(episodes)[1] == minutes_after(episodes)[0]
