# SPDX-License-Identifier: Apache-2.0
"""An epoch is an identity, not a time."""

from __future__ import annotations

from itertools import permutations

import pytest

from whetstone_common.core.epochs import EpochTracker, NewestStamp
from whetstone_common.core.stamp import Stamp


@pytest.mark.parametrize("epochs", list(permutations((5, 900, 1 << 62))))
def test_when_processes_follow_each_other_expect_each_to_count_whatever_its_number(epochs: tuple[int, ...]) -> None:
    tracker, stamps = EpochTracker(), NewestStamp()
    for start, epoch in enumerate(epochs):
        assert tracker.observe(epoch, 10.0 * start) and tracker.followed == epoch
        assert stamps.accept(Stamp(epoch, 1, 1), 10.0 * start)


def test_when_another_speaks_before_the_followed_one_is_silent_expect_it_refused() -> None:
    tracker = EpochTracker(silent_s=1.0)
    assert tracker.observe(7, 0.0)
    assert not tracker.observe(3, 0.9) and not tracker.observe(9, 0.9)
    assert tracker.observe(7, 0.9) and not tracker.observe(9, 1.8)
    assert tracker.observe(9, 2.0) and not tracker.observe(7, 2.0)


def test_when_a_process_announces_itself_expect_it_followed_at_once_but_only_the_first_time() -> None:
    tracker = EpochTracker(silent_s=1.0)
    tracker.observe(7, 0.0)
    assert tracker.announce(3, 0.1) and tracker.followed == 3
    assert not tracker.announce(7, 0.2) and tracker.followed == 3


def test_when_requests_are_repeated_or_older_expect_refusal_within_each_epoch() -> None:
    stamps = NewestStamp(silent_s=1.0)
    assert stamps.accept(Stamp(7, 2, 5), 0.0)
    for old in (Stamp(7, 2, 5), Stamp(7, 2, 4), Stamp(7, 1, 9)):
        assert not stamps.accept(old, 0.0)
    assert stamps.accept(Stamp(3, 0, 1), 0.1)  # the arm started again
    assert not stamps.accept(Stamp(7, 2, 6), 0.2)  # what was under way of the start before
    assert not stamps.accept(Stamp(7, 2, 5), 9.0)  # nor is it ever served twice
    assert stamps.accept(Stamp(7, 2, 6), 9.0)  # it was only stopped for a while


def test_when_stamps_are_compared_by_size_expect_a_type_error() -> None:
    with pytest.raises(TypeError):
        assert Stamp(1, 1, 1) < Stamp(2, 1, 1)
