# SPDX-License-Identifier: Apache-2.0
"""The critic's values of what was chosen in the course of an episode."""

from __future__ import annotations

from collections import deque

_REMEMBERED = 2000
_NS_PER_S = 1e9


class EpisodeValues:
    """Values of the newest episode's decisions over time; a new episode begins a new curve."""

    def __init__(self) -> None:
        """No episode yet."""
        self._points: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._episode = (0, 0)
        self._begin_ns = 0

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """Seconds since the episode's first decision, and value."""
        return tuple(self._points)

    def add(self, episode: tuple[int, int], now_ns: int, value: float | None) -> None:
        """Add a decision.

        Args:
            episode: Epoch and number of its episode.
            now_ns: Time of its observation.
            value: Of what was chosen, None when nothing was scored.
        """
        if episode != self._episode:
            self._episode, self._begin_ns = episode, now_ns
            self._points.clear()
        if value is not None:
            self._points.append(((now_ns - self._begin_ns) / _NS_PER_S, value))
