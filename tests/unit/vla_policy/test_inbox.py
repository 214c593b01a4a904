# SPDX-License-Identifier: Apache-2.0
"""Between callbacks and the thread that works: the newest wins, and nobody waits for ever."""

from __future__ import annotations

import threading

from vla_policy.core.inbox import NewestInbox, Slot


def test_when_items_pile_up_expect_the_newest() -> None:
    inbox: NewestInbox[int] = NewestInbox(lambda _new, _old: True)
    assert inbox.put(1)
    assert not inbox.put(2)
    assert inbox.peek() == 2 and inbox.get() == 2 and inbox.peek() is None


def test_when_an_item_may_not_displace_expect_it_dropped() -> None:
    inbox: NewestInbox[int] = NewestInbox(lambda new, old: new >= old)
    inbox.put(5)
    assert not inbox.put(4)
    assert inbox.get() == 5


def test_when_closed_expect_the_waiting_thread_released() -> None:
    inbox: NewestInbox[int] = NewestInbox(lambda _new, _old: True)
    got: list[int | None] = [0]
    waiting = threading.Thread(target=lambda: got.append(inbox.get()))
    waiting.start()
    inbox.close()
    waiting.join(5.0)
    assert got[-1] is None


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
