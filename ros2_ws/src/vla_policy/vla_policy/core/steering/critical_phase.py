# SPDX-License-Identifier: Apache-2.0
"""Which part of an episode is critical: the one that a method of critical phases (RLT) learns and acts in."""

from __future__ import annotations

from whetstone_common.core.stamp import Stamp


class CriticalPhase:
    """The operator's word for the episode that runs, else the task's rule."""

    def __init__(self) -> None:
        """Nothing has been said."""
        self._episode = (0, 0)
        self._word: bool | None = None

    def say(self, *, is_critical: bool) -> None:
        """Take the operator's word; it counts until the next episode begins."""
        self._word = is_critical

    def at(self, stamp: Stamp, step: int, from_step: int) -> bool:
        """Whether a request is made in the critical phase.

        Args:
            stamp: Of the request.
            step: Control steps of the episode that had begun.
            from_step: Step from which on an episode is critical when nobody says otherwise; -1 for never.
        """
        episode = (stamp.epoch, stamp.episode)
        if episode != self._episode:
            self._episode, self._word = episode, None
        if self._word is not None:
            return self._word
        return 0 <= from_step <= step
