# SPDX-License-Identifier: Apache-2.0
"""How fast a training run learns."""

from __future__ import annotations

_WINDOW_S = 2.0


class UpdateRate:
    """Updates per second of the last seconds.

    Attributes:
        per_s: The rate, 0 until it is known.
    """

    def __init__(self, updates: int, now_s: float) -> None:
        self.per_s = 0.0
        self._since = (now_s, updates)

    def on_turn(self, updates: int, now_s: float) -> None:
        """Take the count of updates at a moment."""
        since_s, before = self._since
        if now_s - since_s >= _WINDOW_S:
            self.per_s = (updates - before) / (now_s - since_s)
            self._since = (now_s, updates)
