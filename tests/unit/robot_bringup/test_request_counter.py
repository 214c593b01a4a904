# SPDX-License-Identifier: Apache-2.0
"""Numbers of requests and episodes only grow."""

from __future__ import annotations

import pytest

from robot_bringup.core.request_counter import RequestCounter
from whetstone_common.core.stamp import QUERY_SEQUENCE


def test_when_requests_are_made_expect_growing_ids_and_a_sequence_per_episode():
    request_counter = RequestCounter(9)
    request_counter.begin(0, 1, 0)
    first, query, second = request_counter.act(10), request_counter.query(11), request_counter.act(12)
    assert [s.request_id for s in (first, query, second)] == [1, 2, 3]
    assert [s.sequence for s in (first, query, second)] == [0, QUERY_SEQUENCE, 1]
    request_counter.begin(0, 1, 0)
    third = request_counter.act(20)
    assert (third.episode, third.request_id, third.sequence) == (2, 4, 0)
    assert first.request_id < second.request_id < third.request_id and request_counter.newest == third


def test_when_an_episode_number_is_used_again_expect_refusal_that_names_the_next():
    request_counter = RequestCounter(9)
    request_counter.begin(5, 1, 0)
    with pytest.raises(ValueError, match="next one is 6"):
        request_counter.begin(5, 1, 0)


def test_when_there_is_a_bound_expect_the_end_at_it_and_without_one_never():
    request_counter = RequestCounter(9)
    request_counter.begin(0, 1, 2)
    assert not request_counter.over
    request_counter.steps = 2
    assert request_counter.over
    request_counter.begin(0, 1, 0)
    request_counter.steps = 10**6
    assert not request_counter.over
