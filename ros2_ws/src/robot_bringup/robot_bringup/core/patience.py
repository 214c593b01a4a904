# SPDX-License-Identifier: Apache-2.0
"""A scripted person's patience: what they want next waits until what they did last has been looked at."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

from whetstone_common.core.stamp import Stamp

T = TypeVar("T")


class Patience(Generic[T]):
    """Holds the newest wish back while a look is being answered.

    A world in lockstep goes on with each wish, which takes milliseconds; a look takes the policy longer, and the next
    one would displace it.

    Args:
        most_s: How long a wish may wait from the request on, 0 for not at all.

    Attributes:
        awaited: Looks that wishes had to wait for.
        given_up: Those of them that were not answered in time.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._wish: T | None = None
        self._look: Stamp | None = None
        self._answered: Stamp | None = None
        self._until_s = -math.inf
        self._drives = False
        self.awaited = self.given_up = 0

    def want(self, wish: T) -> None:
        """The person wants this now; what they wanted before and did not get is forgotten."""
        self._wish = wish

    def asked(self, look: Stamp, now_s: float) -> None:
        """A look was asked for (steady clock, s); it counts only after a first wish has gone out."""
        # The answer can overtake the request: they come from two nodes.
        known = self._answered is not None and look.same_request(self._answered)
        if self._drives and not known:
            self._look, self._until_s = look, now_s + self._most_s
            self.awaited += 1

    def answered(self, look: Stamp) -> None:
        """A look was answered."""
        self._answered = look
        if self._look is not None and look.same_request(self._look):
            self._look = None

    def due(self, now_s: float) -> T | None:
        """The wish that goes out now (steady clock, s), each at most once; None while there is none or it waits."""
        if self._look is not None:
            if now_s < self._until_s:
                return None
            self._look = None
            self.given_up += 1
        wish, self._wish = self._wish, None
        self._drives = self._drives or wish is not None
        return wish

    def let_go(self) -> None:
        """The person drives no more: nothing of theirs may go out behind the release."""
        self._wish = self._look = None
        self._drives = False
