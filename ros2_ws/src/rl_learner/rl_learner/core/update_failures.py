# SPDX-License-Identifier: Apache-2.0
"""Updates that failed, and when a training run stops because of them."""

from __future__ import annotations

from enum import Enum

MOST_SKIPPED = 3  # steps in a row that may be refused


class StopReason(Enum):
    """Why a run learns no more: weights stay as they are and are published no more, until it is started again."""

    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out of memory"


class UpdateFailures:
    """Failures of one run's updates.

    Args:
        batch: Windows per update that the method asks for.

    Attributes:
        batch: Windows per update; half as many after the first one that memory did not suffice for.
        skipped: Updates that were refused, in all.
        halt: Why nothing is learnt any more, None while something is.
    """

    def __init__(self, batch: int) -> None:
        self._full_batch = self.batch = batch
        self.skipped = self._in_row = 0
        self.halt: StopReason | None = None

    @property
    def is_in_row(self) -> bool:
        """Whether the last update was refused as diverged."""
        return self._in_row > 0

    def on_success(self) -> None:
        """An update was applied."""
        self._in_row = 0

    def on_divergence(self) -> None:
        """An update was refused; some in a row end the learning."""
        self.skipped, self._in_row = self.skipped + 1, self._in_row + 1
        if self._in_row >= MOST_SKIPPED:
            self.halt = StopReason.DIVERGED

    def on_out_of_memory(self) -> None:
        """Memory did not suffice: halve the batch, once."""
        self.skipped += 1
        if self.batch < self._full_batch:
            self.halt = StopReason.OUT_OF_MEMORY
        else:
            self.batch = max(2, self.batch // 2)
