# SPDX-License-Identifier: Apache-2.0
"""How many updates a training run owes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class UpdateBudget:
    """Updates that the data have paid for and that were not done.

    Attributes:
        pending: Of online learning; a control step pays for a fraction or a multiple of one.
        warm_up_left: Of the warm-up, before them.
    """

    pending: float = 0.0
    warm_up_left: int = 0

    @property
    def due(self) -> int:
        """Updates to do now."""
        return self.warm_up_left + int(self.pending)

    @property
    def is_warm_up(self) -> bool:
        """Whether the next update belongs to the warm-up."""
        return self.warm_up_left > 0

    def spend(self) -> bool:
        """One update was done or refused; returns whether it ended the warm-up."""
        if self.is_warm_up:
            self.warm_up_left -= 1
            return self.warm_up_left == 0
        self.pending -= 1.0
        return False
