# SPDX-License-Identifier: Apache-2.0
"""Values over the time of an episode."""

from __future__ import annotations

from operator_console.core.episode_values import EpisodeValues


def test_when_decisions_of_an_episode_come_expect_their_values_over_its_time():
    curve = EpisodeValues()
    curve.add((7, 1), 5_000_000_000, 0.25)
    curve.add((7, 1), 5_500_000_000, None)
    curve.add((7, 1), 6_000_000_000, 0.5)
    assert curve.points == ((0.0, 0.25), (1.0, 0.5))


def test_when_the_next_episode_begins_expect_a_new_curve_from_its_first_decision():
    curve = EpisodeValues()
    curve.add((7, 1), 5_000_000_000, 0.25)
    curve.add((7, 2), 8_000_000_000, None)
    assert curve.points == ()
    curve.add((7, 2), 8_500_000_000, 0.75)
    assert curve.points == ((0.5, 0.75),)
