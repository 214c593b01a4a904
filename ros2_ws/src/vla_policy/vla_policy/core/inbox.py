# SPDX-License-Identifier: Apache-2.0
"""A mailbox of depth one between callbacks that must be short and a thread that works."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestInbox(Generic[T]):
    """Holds the newest item that waits; what is displaced is gone."""

    def __init__(self, displaces: Callable[[T, T], bool]) -> None:
        """Start empty and open.

        Args:
            displaces: Whether the first item may take the place of the second.
        """
        self._displaces = displaces
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Offer an item; False when it, or the one that waited, is dropped."""
        with self._condition:
            waiting = self._item
            if waiting is not None and not self._displaces(item, waiting):
                return False
            self._item = item
            self._condition.notify_all()
            return waiting is None

    def get(self) -> T | None:
        """Wait for an item and take it; None once the inbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._closed else item

    def peek(self) -> T | None:
        """The item that waits, if any."""
        with self._condition:
            return self._item

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
