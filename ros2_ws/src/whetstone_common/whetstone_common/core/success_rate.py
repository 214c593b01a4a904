# SPDX-License-Identifier: Apache-2.0
"""Success rates with their uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass

_Z = 1.959963984540054  # of 95 %, two-sided, in the standard normal distribution


@dataclass(frozen=True)
class Rate:
    """A success rate and its 95 % Wilson interval, all 0..1."""

    successes: int
    episodes: int
    rate: float
    low: float
    high: float

    def __str__(self) -> str:
        """As it stands in tables."""
        return (
            f"{self.successes}/{self.episodes}  {100 * self.rate:.0f} % [{100 * self.low:.0f}, {100 * self.high:.0f}]"
        )


def wilson(successes: int, episodes: int) -> Rate:
    """Rate with its 95 % Wilson score interval: it stays inside 0..1, and is honest near both ends.

    By its formula, not by SciPy: importing that takes longer than a page in control may be silent.

    Raises:
        ValueError: Counts that cannot be.
    """
    if not 0 <= successes <= episodes:
        raise ValueError(f"{successes} successes of {episodes} episodes")
    if episodes == 0:
        return Rate(0, 0, 0.0, 0.0, 1.0)
    rate = successes / episodes
    share = _Z**2 / episodes
    centre = (rate + share / 2.0) / (1.0 + share)
    half = _Z * math.sqrt(rate * (1.0 - rate) / episodes + share / (4.0 * episodes)) / (1.0 + share)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == episodes else centre + half
    return Rate(successes, episodes, rate, low, high)
