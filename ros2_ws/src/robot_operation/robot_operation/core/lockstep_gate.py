# SPDX-License-Identifier: Apache-2.0
"""In lockstep, holds a scripted operator's next message back until its query-only request has been answered."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

from whetstone_common.core.stamp import Stamp

T = TypeVar("T")


class LockstepGate(Generic[T]):
    """Holds the newest message back while a query-only request is being answered.

    A world in lockstep goes on with each message, which takes milliseconds; a query takes the policy longer, and the
    next one would displace it.

    Args:
        timeout_s: How long a message may wait from the request on, 0 for not at all.

    Attributes:
        queries: Queries that messages had to wait for.
        timed_out: Those of them that were not answered in time.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pending: T | None = None
        self._query: Stamp | None = None
        self._answered: Stamp | None = None
        self._until_s = -math.inf
        self._open = False
        self.queries = self.timed_out = 0

    def put(self, message: T) -> None:
        """Replace the message that waits."""
        self._pending = message

    def on_query(self, query: Stamp, now_s: float) -> None:
        """A query-only request was sent (steady clock, s); it counts only after a first message has gone out."""
        # The answer can overtake the request: they come from two nodes.
        is_answered = self._answered is not None and query.same_request(self._answered)
        if self._open and not is_answered:
            self._query, self._until_s = query, now_s + self._timeout_s
            self.queries += 1

    def on_answer(self, query: Stamp) -> None:
        """A query-only request was answered."""
        self._answered = query
        if self._query is not None and query.same_request(self._query):
            self._query = None

    def due(self, now_s: float) -> T | None:
        """The message that goes out now (steady clock, s), each at most once; None while there is none or it waits."""
        if self._query is not None:
            if now_s < self._until_s:
                return None
            self._query = None
            self.timed_out += 1
        message, self._pending = self._pending, None
        self._open = self._open or message is not None
        return message

    def release(self) -> None:
        """The operator drives no more: nothing may go out behind the release."""
        self._pending = self._query = None
        self._open = False
