# SPDX-License-Identifier: Apache-2.0
"""Which joint states count for an episode: the one that it starts from, and those that wait for a command."""

from __future__ import annotations


class EpisodeClock:
    """Compares stamps of joint states (ROS time) with what the episode asked for and what was answered."""

    def __init__(self) -> None:
        """No episode."""
        self._starts_ns: int | None = None
        self._answered_ns = -1

    @property
    def is_waiting(self) -> bool:
        """Whether the episode waits for the joint state that it starts from."""
        return self._starts_ns is not None

    def begin(self, not_before_ns: int) -> None:
        """Begin an episode that starts from a joint state at least this new; no tick is answered."""
        self._answered_ns = -1
        self._starts_ns = not_before_ns

    def may_start(self, stamp_ns: int) -> bool:
        """Whether the episode may start from a joint state of this stamp."""
        return self._starts_ns is None or stamp_ns >= self._starts_ns

    def stop_waiting(self) -> None:
        """The joint state is here, or the episode was dropped."""
        self._starts_ns = None

    def awaits_command(self, stamp_ns: int) -> bool:
        """Whether a joint state waits for its command (lockstep)."""
        return stamp_ns > self._answered_ns

    def answer(self, stamp_ns: int) -> None:
        """Note that the command of this joint state is sent."""
        self._answered_ns = stamp_ns
