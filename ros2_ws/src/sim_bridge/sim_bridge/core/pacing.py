# SPDX-License-Identifier: Apache-2.0
"""Real-time pacing of the simulation, and delayed commands."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

MAX_BACKLOG_S = 0.1  # of simulated time; a larger backlog is dropped


class Pacer:
    """Converts readings of a steady clock to physics steps.

    Args:
        timestep_s: Simulated time of a step.
        real_time_factor: Simulated seconds per second.
    """

    def __init__(self, timestep_s: float, real_time_factor: float) -> None:
        self._timestep_s = timestep_s
        self._factor = real_time_factor
        self._last_s: float | None = None
        self._owed_s = 0.0
        self.dropped_s = 0.0

    def due(self, now_s: float) -> int:
        """Steps to take at `now_s`; the first call starts the clock."""
        if self._last_s is not None:
            self._owed_s += (now_s - self._last_s) * self._factor
        self._last_s = now_s
        if self._owed_s > MAX_BACKLOG_S:
            self.dropped_s += self._owed_s - MAX_BACKLOG_S
            self._owed_s = MAX_BACKLOG_S
        steps = int(self._owed_s / self._timestep_s + 1e-9)
        self._owed_s -= steps * self._timestep_s
        return steps


class Every:
    """Periodic schedule.

    Args:
        period_s: Period.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._due_s = 0.0

    def is_due(self, now_s: float) -> bool:
        """Whether a period is over; missed periods are skipped."""
        if now_s < self._due_s:
            return False
        on_time = self._due_s + self._period_s > now_s
        self._due_s = (self._due_s if on_time else now_s) + self._period_s
        return True

    def restart(self) -> None:
        """Make the next period due now."""
        self._due_s = 0.0


class DelayLine(Generic[Item]):
    """First-in, first-out queue with a delay of `delay_s`."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self._items: deque[tuple[float, Item]] = deque()

    def put(self, now_s: float, item: Item) -> None:
        """Add an item."""
        self._items.append((now_s + self.delay_s, item))

    def take_due(self, now_s: float) -> list[Item]:
        """Remove and return all items that are due."""
        due = []
        while self._items and self._items[0][0] <= now_s:
            due.append(self._items.popleft()[1])
        return due

    def wait_s(self, now_s: float) -> float | None:
        """Time until the next item is due, None if the queue is empty."""
        return max(0.0, self._items[0][0] - now_s) if self._items else None

    def clear(self) -> None:
        """Remove all items."""
        self._items.clear()
