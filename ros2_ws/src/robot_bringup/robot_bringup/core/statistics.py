# SPDX-License-Identifier: Apache-2.0
"""Success rates with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Two-sided 95 % quantile of the standard normal distribution.
_Z_95 = 1.959963984540054


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


def wilson(successes: int, episodes: int, z: float = _Z_95) -> Rate:
    """Wilson score interval: stays inside 0..1 and is honest near both ends, unlike the normal one.

    Raises:
        ValueError: Counts that cannot be.
    """
    if not 0 <= successes <= episodes:
        raise ValueError(f"{successes} successes of {episodes} episodes")
    if episodes == 0:
        return Rate(0, 0, 0.0, 0.0, 1.0)
    p = successes / episodes
    scale = 1.0 + z * z / episodes
    centre = (p + z * z / (2 * episodes)) / scale
    half = z * math.sqrt(p * (1 - p) / episodes + z * z / (4 * episodes * episodes)) / scale
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == episodes else min(1.0, centre + half)
    return Rate(successes, episodes, p, low, high)


@dataclass(frozen=True)
class Paired:
    """The same episodes under two policies, counted as McNemar does.

    Attributes:
        both: Successes of both.
        first_only: Successes of the first alone.
        second_only: Successes of the second alone.
        neither: Failures of both.
        p_value: Of the exact two-sided test that neither is better.
    """

    both: int
    first_only: int
    second_only: int
    neither: int
    p_value: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compare two policies on the same episodes: only those that tell them apart count.

    Raises:
        ValueError: The episodes are not the same number.
    """
    pairs = list(zip(first, second, strict=True))
    first_only = sum(a and not b for a, b in pairs)
    second_only = sum(b and not a for a, b in pairs)
    apart = first_only + second_only
    tail = sum(math.comb(apart, k) for k in range(min(first_only, second_only) + 1)) / 2**apart
    return Paired(
        both=sum(a and b for a, b in pairs),
        first_only=first_only,
        second_only=second_only,
        neither=sum(not a and not b for a, b in pairs),
        p_value=min(1.0, 2.0 * tail),
    )


def mean(values: Sequence[float]) -> float | None:
    """Mean, None of nothing."""
    return sum(values) / len(values) if values else None


def median(values: Sequence[float]) -> float | None:
    """Median, None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
