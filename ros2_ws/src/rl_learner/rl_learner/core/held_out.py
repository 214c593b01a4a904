# SPDX-License-Identifier: Apache-2.0
"""Which episodes of a training are put aside."""

from __future__ import annotations


class HeldOutEpisodes:
    """One in so many of the usable episodes, the first of them by the seed.

    Args:
        share: Of the episodes, 0 for none.
        episodes: How many there are.
        seed: Of which come first.
    """

    def __init__(self, share: float, episodes: int, seed: int) -> None:
        self._every = round(1.0 / share) if share else 0
        self._first = seed % max(1, min(self._every, episodes))
        self._number = -1

    def next(self) -> bool:
        """Whether the next usable episode is put aside."""
        self._number += 1
        return self._every > 0 and self._number % self._every == self._first
