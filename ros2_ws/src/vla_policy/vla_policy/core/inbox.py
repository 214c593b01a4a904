# SPDX-License-Identifier: Apache-2.0
"""Mailboxes between callbacks that must be short and a thread that works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class BatchInbox(Generic[T]):
    """One place for each sender, which holds its newest item; who has waited longest is taken first.

    A sender keeps its turn when a newer item takes its place, and joins the end when it comes again. So one that floods
    is served no more often than the others.

    Attributes:
        most: Items that are taken together.
        window_s: How long the first item of a batch waits for those of other senders, from its arrival on (s).
    """

    def __init__(
        self, senders: int, rank: Callable[[T], int] = lambda _: 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start empty and open.

        Args:
            senders: How many there are; when all wait, nobody else is waited for.
            rank: Of an item; lower ones are taken first, and a higher one never displaces a lower one.
            clock: Seconds that only grow.
        """
        self.most, self.window_s = 1, 0.0
        self._senders, self._rank, self._clock = senders, rank, clock
        self._condition = threading.Condition()
        self._waiting: dict[str, tuple[float, T]] = {}
        self._closed = False

    def put(self, sender: str, item: T) -> bool:
        """Offer an item; False when it, or the one that waited, is dropped."""
        with self._condition:
            since_s, waiting = self._waiting.get(sender, (self._clock(), None))
            if waiting is not None and self._rank(item) > self._rank(waiting):
                return False
            self._waiting[sender] = (since_s, item)
            self._condition.notify_all()
            return waiting is None

    def get(self) -> list[T]:
        """Wait for items and take them, the one that has waited longest first; none once the inbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._waiting)
            if not self._closed:
                self._wait_for_others()
            if self._closed:
                return []
            ranked = sorted(self._waiting, key=lambda sender: self._rank(self._waiting[sender][1]))
            return [self._waiting.pop(sender)[1] for sender in ranked[: self.most]]

    def _wait_for_others(self) -> None:
        left_s = min(since_s for since_s, _ in self._waiting.values()) + self.window_s - self._clock()
        if left_s > 0.0:
            wanted = min(self.most, self._senders)
            self._condition.wait_for(lambda: self._closed or len(self._waiting) >= wanted, left_s)

    @property
    def is_empty(self) -> bool:
        """Whether no item waits."""
        with self._condition:
            return not self._waiting

    def peek(self, sender: str) -> T | None:
        """The item of a sender that waits, if any."""
        with self._condition:
            return self._waiting.get(sender, (0.0, None))[1]

    def close(self) -> None:
        """Release whoever waits, for good."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Slot(Generic[T]):
    """A place where one thread leaves what another waits for under a key."""

    def __init__(self) -> None:
        """Start with nothing expected."""
        self._condition = threading.Condition()
        self._key: object = None
        self._value: T | None = None
        self._closed = False

    def expect(self, key: object) -> None:
        """From now on take the value of this key."""
        with self._condition:
            self._key, self._value = key, None

    def put(self, key: object, value: T) -> bool:
        """Leave a value; False when nobody expects it."""
        with self._condition:
            if key != self._key or self._value is not None:
                return False
            self._value = value
            self._condition.notify_all()
            return True

    def wait(self, timeout_s: float) -> T | None:
        """The value, or None when it does not come in time."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._value is not None, timeout_s)
            value, self._value, self._key = self._value, None, None
            return value

    def close(self) -> None:
        """Release whoever waits, for good."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
