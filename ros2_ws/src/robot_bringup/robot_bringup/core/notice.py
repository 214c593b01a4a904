# SPDX-License-Identifier: Apache-2.0
"""Something that people should see for a moment although it changes no mode."""

from __future__ import annotations

from whetstone_common.core.reason import Reason

_SHOWN_S = 2.0


class Notice:
    """The newest such event; it fades."""

    def __init__(self) -> None:
        """Nothing to tell."""
        self.reason = Reason.NONE
        self.detail = ""
        self._new = False
        self._until_s = float("-inf")
        self._now_s = float("-inf")

    def give(self, reason: Reason, detail: str) -> None:
        """Show from the next `at` on."""
        self.reason, self.detail, self._new = reason, detail, True

    def at(self, now_s: float) -> None:
        """Let time pass (steady clock)."""
        self._now_s = now_s
        if self._new:
            self._new, self._until_s = False, now_s + _SHOWN_S

    @property
    def fresh(self) -> bool:
        """Whether it should still be shown."""
        return self._new or self._now_s < self._until_s
