# SPDX-License-Identifier: Apache-2.0
"""Watchdogs on times that are handed in (steady clock; in lockstep the clock of the ticks)."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Timeout:
    """How long something has been silent, by the time of receipt and not by anyone's stamp.

    Args:
        limit_s: Silence that is too long; must be positive, a watchdog cannot be switched off by a zero.

    Raises:
        ValueError: The limit is not finite and positive.
    """

    def __init__(self, limit_s: float) -> None:
        if not (math.isfinite(limit_s) and limit_s > 0.0):
            raise ValueError(f"a time-out of {limit_s} s protects nobody")
        self._limit_s = limit_s
        self._since_s: float | None = None

    def feed(self, now_s: float) -> None:
        """Something was heard."""
        self._since_s = now_s

    def start(self, now_s: float) -> None:
        """Count from now, unless it counts already."""
        if self._since_s is None:
            self._since_s = now_s

    def clear(self) -> None:
        """Stop counting."""
        self._since_s = None

    def age_s(self, now_s: float) -> float:
        """Seconds of silence; 0 when it does not count."""
        return 0.0 if self._since_s is None else now_s - self._since_s

    def expired(self, now_s: float) -> bool:
        """Whether it was silent for too long."""
        return self.age_s(now_s) > self._limit_s


class FrozenJoints:
    """Notices an arm that stays where it is while it is told to move.

    A driver may go on stamping its last reading after the cable is pulled, so fresh stamps prove nothing:
    https://github.com/UniversalRobots/Universal_Robots_ROS_Driver/issues/103.

    Args:
        window_s: How long the measured joints may stay where they are.
        moved_rad: How far the command must have gone meanwhile.
        still_rad: Joints that differ by no more than this count as staying.
    """

    def __init__(self, window_s: float, *, moved_rad: float = 0.02, still_rad: float = 0.0) -> None:
        self._window_s = window_s
        self._moved_rad = moved_rad
        self._still_rad = still_rad
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._since_s: float | None = None
        self._measured: Array | None = None
        self._lowest: Array | None = None
        self._highest: Array | None = None

    def update(self, now_s: float, commanded: Array, measured: Array) -> bool:
        """Whether the joints (n,) are frozen."""
        if self._measured is None or not np.abs(measured - self._measured).max() <= self._still_rad:
            self._since_s, self._measured = now_s, measured
            self._lowest = self._highest = commanded
            return False
        if self._lowest is None or self._highest is None or self._since_s is None:
            return False
        self._lowest, self._highest = np.minimum(self._lowest, commanded), np.maximum(self._highest, commanded)
        moved = float((self._highest - self._lowest).max()) > self._moved_rad
        return moved and now_s - self._since_s >= self._window_s


class FrozenParts:
    """A `FrozenJoints` for each message that the joints come in: one driver may freeze while another goes on.

    Args:
        window_s: As for `FrozenJoints`, like the others.
        moved_rad: How far the command must have gone.
        still_rad: What counts as staying.
    """

    def __init__(self, window_s: float, *, moved_rad: float = 0.02, still_rad: float = 0.0) -> None:
        self._make = functools.partial(FrozenJoints, window_s, moved_rad=moved_rad, still_rad=still_rad)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._watchdogs: dict[tuple[int, ...], FrozenJoints] = {}

    def update(
        self, now_s: float, commanded: Array, measured: Array, groups: tuple[tuple[int, ...], ...]
    ) -> tuple[int, ...]:
        """Indices of the joints that are frozen, empty for none.

        Args:
            now_s: The moment.
            commanded: (n,) rad.
            measured: (n,) rad.
            groups: Indices of the joints that came in one message, for each message.
        """
        self._watchdogs = {each: self._watchdogs.get(each) or self._make() for each in groups}
        frozen: tuple[int, ...] = ()
        for each, watchdog in self._watchdogs.items():
            if watchdog.update(now_s, commanded[list(each)], measured[list(each)]):
                frozen += each
        return frozen


class ClockJump:
    """Notices time that runs backwards.

    Args:
        tolerance_s: Disorder that is not a jump.
    """

    def __init__(self, tolerance_s: float) -> None:
        self._tolerance_ns = int(tolerance_s * 1e9)
        self._newest_ns: int | None = None

    def update(self, stamp_ns: int) -> float:
        """Seconds that the stamp lies before the newest one, beyond the tolerance; 0 when it does not.

        A jump is told once: afterwards the new time is the base.
        """
        newest = self._newest_ns
        if newest is not None and stamp_ns < newest - self._tolerance_ns:
            self._newest_ns = stamp_ns
            return (newest - stamp_ns) / 1e9
        self._newest_ns = stamp_ns if newest is None else max(newest, stamp_ns)
        return 0.0


class Stall:
    """Notices a pause of one's own: of a process that was suspended, or that the machine did not let run.

    Args:
        limit_s: Time between two periods that is no pause yet.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._ticked_s = math.inf

    def update(self, now_s: float) -> float:
        """A period begins: seconds since the one before when that is a pause, else 0."""
        pause_s, self._ticked_s = now_s - self._ticked_s, now_s
        return pause_s if pause_s > self._limit_s else 0.0
