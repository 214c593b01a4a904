# SPDX-License-Identifier: Apache-2.0
"""Numbers of requests and episodes only grow."""

from __future__ import annotations

import pytest

from robot_bringup.core.laps import LOOK_SEQUENCE, Laps


def test_when_requests_are_made_expect_growing_ids_and_a_sequence_per_episode():
    laps = Laps(9)
    laps.begin(0, 1, 0)
    first, look, second = laps.act(10), laps.look(11), laps.act(12)
    assert [s.request_id for s in (first, look, second)] == [1, 2, 3]
    assert [s.sequence for s in (first, look, second)] == [0, LOOK_SEQUENCE, 1]
    laps.begin(0, 1, 0)
    third = laps.act(20)
    assert (third.episode, third.request_id, third.sequence) == (2, 4, 0)
    assert first.request_id < second.request_id < third.request_id and laps.newest == third


def test_when_an_episode_number_is_used_again_expect_refusal_that_names_the_next():
    laps = Laps(9)
    laps.begin(5, 1, 0)
    with pytest.raises(ValueError, match="next one is 6"):
        laps.begin(5, 1, 0)


def test_when_there_is_a_bound_expect_the_end_at_it_and_without_one_never():
    laps = Laps(9)
    laps.begin(0, 1, 2)
    assert not laps.over
    laps.steps = 2
    assert laps.over
    laps.begin(0, 1, 0)
    laps.steps = 10**6
    assert not laps.over
