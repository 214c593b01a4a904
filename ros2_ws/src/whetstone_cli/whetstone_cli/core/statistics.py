# SPDX-License-Identifier: Apache-2.0
"""Two policies on the same episodes, means and medians."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


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


def _binomtest() -> Any:
    """Test of SciPy; importing it takes longer than most commands, so only who counts does."""
    from scipy.stats import binomtest

    return binomtest


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compare two policies on the same episodes: only those that tell them apart count.

    Raises:
        ValueError: The episodes are not the same number.
    """
    pairs = list(zip(first, second, strict=True))
    first_only = sum(a and not b for a, b in pairs)
    second_only = sum(b and not a for a, b in pairs)
    apart = first_only + second_only
    p_value = float(_binomtest()(first_only, apart).pvalue) if apart else 1.0
    return Paired(
        both=sum(a and b for a, b in pairs),
        first_only=first_only,
        second_only=second_only,
        neither=sum(not a and not b for a, b in pairs),
        p_value=p_value,
    )


def mean(values: Sequence[float]) -> float | None:
    """Mean, None of nothing."""
    return sum(values) / len(values) if values else None


def median(values: Sequence[float]) -> float | None:
    """Median, None of nothing."""
    return statistics.median(values) if values else None
