# SPDX-License-Identifier: Apache-2.0
"""The critic's value of what was chosen, out of the scores that it gave to all."""

from __future__ import annotations

import math
from collections.abc import Sequence

EDITED = 1  # vla_interfaces/Decision: a candidate plus the edit policy's change


def value_of_chosen(scores: Sequence[float], kind: int, chosen: int) -> float | None:
    """Value of the chosen chunk; None when no critic has given it one.

    Args:
        scores: Of the candidates, then of their edited ones where there are some.
        kind: Where the chunk came from, as vla_interfaces/Decision says.
        chosen: Number of the candidate, below 0 for none.
    """
    index = chosen + (len(scores) // 2 if kind == EDITED else 0)
    if chosen < 0 or index >= len(scores) or not math.isfinite(scores[index]):
        return None
    return float(scores[index])
