# SPDX-License-Identifier: Apache-2.0
"""Between callbacks and the thread that works: the newest wins, and nobody waits for ever."""

from __future__ import annotations

import threading
from typing import Any

from harness.until import until
from vla_policy.core.inbox import BatchInbox, Slot


class Clock:
    """Seconds by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.now_s


def taken(inbox: BatchInbox[int]) -> list[list[int]]:
    """A list that fills with the next batch, taken by a thread."""
    got: list[list[int]] = []
    threading.Thread(target=lambda: got.append(inbox.get()), daemon=True).start()
    return got


def inbox_of(senders: int, most: int = 8, window_s: float = 0.0, rank: Any = lambda _: 0) -> BatchInbox[int]:
    """An inbox with its limits."""
    inbox: BatchInbox[int] = BatchInbox(senders, rank)
    inbox.most, inbox.window_s = most, window_s
    return inbox


def test_when_items_pile_up_expect_the_newest() -> None:
    inbox = inbox_of(1)
    assert inbox.put("a", 1)
    assert not inbox.put("a", 2)
    assert inbox.peek("a") == 2 and inbox.get() == [2] and inbox.peek("a") is None and inbox.is_empty


def test_when_an_item_ranks_behind_the_one_that_waits_expect_it_dropped() -> None:
    inbox = inbox_of(1, rank=lambda item: item)
    inbox.put("a", 4)
    assert not inbox.put("a", 5)
    assert inbox.peek("a") == 4
    inbox.put("a", 3)
    assert inbox.get() == [3]


def test_when_closed_expect_the_waiting_thread_released() -> None:
    for waiting in (False, True):
        inbox = inbox_of(2, window_s=60.0)
        if waiting:
            inbox.put("a", 1)
        got = taken(inbox)
        inbox.close()
        until(lambda got=got: got, 5.0, "released")
        assert got == [[]]


def test_when_more_wait_than_are_taken_together_expect_those_who_have_waited_longest() -> None:
    inbox = inbox_of(4, most=2)
    for sender, item in (("c", 1), ("a", 2), ("d", 3), ("b", 4)):
        inbox.put(sender, item)
    assert inbox.get() == [1, 2] and inbox.get() == [3, 4]


def test_when_one_floods_expect_it_served_no_more_often_than_the_others() -> None:
    inbox, served = inbox_of(3, most=1), []
    for _ in range(9):
        for sender, item in ((0, 0), (0, 0), (1, 1), (0, 0), (2, 2), (0, 0)):
            inbox.put(str(sender), item)
        served += inbox.get()
    assert [served.count(item) for item in range(3)] == [3, 3, 3]


def test_when_an_item_ranks_lower_expect_it_before_those_who_have_waited_longer() -> None:
    inbox = inbox_of(3, most=2, rank=lambda item: item % 2)
    for sender, item in (("a", 1), ("b", 2), ("c", 4)):
        inbox.put(sender, item)
    assert inbox.get() == [2, 4] and inbox.get() == [1]


def test_when_all_wait_expect_no_time_spent_on_the_window() -> None:
    inbox = inbox_of(2, window_s=60.0)
    got = taken(inbox)
    inbox.put("a", 1)
    inbox.put("b", 2)
    until(lambda: got, 5.0, "both taken")
    assert got == [[1, 2]]


def test_when_as_many_wait_as_are_taken_together_expect_no_time_spent_on_the_window() -> None:
    inbox = inbox_of(8, most=1, window_s=60.0)
    inbox.put("a", 1)
    assert inbox.get() == [1]


def test_when_the_window_is_over_expect_those_who_are_there() -> None:
    clock = Clock()
    inbox: BatchInbox[int] = BatchInbox(3, clock=clock)
    inbox.most, inbox.window_s = 8, 60.0
    inbox.put("a", 1)
    clock.now_s = 61.0  # the thread was busy meanwhile
    inbox.put("b", 2)
    assert inbox.get() == [1, 2]
    inbox.window_s = 0.01
    inbox.put("a", 3)
    clock.now_s = 61.0
    assert inbox.get() == [3]


def test_when_a_value_of_another_key_comes_expect_it_refused() -> None:
    slot: Slot[str] = Slot()
    slot.expect("a")
    assert not slot.put("b", "wrong")
    assert slot.put("a", "right") and not slot.put("a", "again")
    assert slot.wait(0.0) == "right"
    assert not slot.put("a", "late")


def test_when_nothing_comes_in_time_expect_none() -> None:
    slot: Slot[str] = Slot()
    slot.expect("a")
    assert slot.wait(0.01) is None
