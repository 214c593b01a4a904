# SPDX-License-Identifier: Apache-2.0
"""Is a stream alive? Age, stamps that cannot be, and sources that repeat themselves under fresh stamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whetstone_common.core.clock import NO_CLOCK, UNSTAMPED, other_clock

# Stamps that lie behind for so long and so often, each newer than the one before, are a clock that went back.
_BACK_FOR_NS = 500_000_000
_BACK_TIMES = 3


class StampError(ValueError):
    """A stamp that cannot be used; `kind` is a word for the counter."""

    def __init__(self, kind: str, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.kind = kind


def check_stamp(stamp_ns: int, now_ns: int, future_tolerance_ns: int, *, sim_time: bool = False) -> None:
    """Refuse a stamp that no measurement can have.

    Args:
        stamp_ns: ROS time of what has just been received (ns).
        now_ns: This node's ROS time (ns).
        future_tolerance_ns: How far ahead of that a stamp may be.
        sim_time: Whether that follows /clock.

    Raises:
        StampError: There is no clock (kind `no_clock`), the stamp is zero, of another clock (kind `other_clock`), or
            from the future.
    """
    if now_ns <= 0:
        raise StampError("no_clock", NO_CLOCK)
    if stamp_ns <= 0:
        raise StampError("zero", UNSTAMPED)
    if why := other_clock(stamp_ns, now_ns, sim_time=sim_time):
        raise StampError("other_clock", why)
    if stamp_ns > now_ns + future_tolerance_ns:
        raise StampError("future", f"stamp is {(stamp_ns - now_ns) * 1e-9:.3f} s in the future")


@dataclass
class StampGuard:
    """Judges the stamps of one stream as they arrive.

    A message that was overtaken on its way lies behind once; a driver that was restarted with its clock set back lies
    behind in good order, and is followed after half a second of that.

    Attributes:
        future_tolerance_ns: How far ahead of this machine's clock a stamp may be.
        newest_ns: Newest stamp accepted, 0 for none.
        sim_time: Whether this node's clock follows /clock.
        went_back_ns: How far behind its last one the newest accepted stamp lies, 0 for the usual progress.
    """

    future_tolerance_ns: int
    newest_ns: int = 0
    sim_time: bool = False
    went_back_ns: int = 0
    _behind_ns: int = 0
    _behind_times: int = 0
    _behind_since_ns: int = 0

    def accept(self, stamp_ns: int, now_ns: int) -> bool:
        """Whether the stamp is news; a repeat of the newest one is not, and is no fault either.

        Raises:
            StampError: As `check_stamp`, or older than what came before without being a clock that went back.
        """
        check_stamp(stamp_ns, now_ns, self.future_tolerance_ns, sim_time=self.sim_time)
        back_ns = max(0, self.newest_ns - stamp_ns)
        if back_ns and not self._is_clock_back(stamp_ns, now_ns):
            raise StampError("order", f"stamp is {back_ns * 1e-9:.3f} s before the last one")
        is_news = stamp_ns != self.newest_ns
        self.newest_ns, self.went_back_ns, self._behind_times = stamp_ns, back_ns, 0
        return is_news

    def _is_clock_back(self, stamp_ns: int, now_ns: int) -> bool:
        if not self._behind_times or stamp_ns < self._behind_ns:
            self._behind_times, self._behind_since_ns = 0, now_ns
        self._behind_times += 1
        self._behind_ns = stamp_ns
        return self._behind_times >= _BACK_TIMES and now_ns - self._behind_since_ns >= _BACK_FOR_NS

    def reset(self) -> None:
        """Forget the past, for instance after a jump of the clock."""
        self.newest_ns = self._behind_times = 0


class FreezeDetector:
    """Counts identical payloads in a row.

    A camera has noise, so identical frames mean a dead driver that still stamps. A rendered image of an arm at rest
    is identical too: repeats count for nothing until the arm has moved by `min_motion_rad`.
    """

    def __init__(self, *, frames: int, min_motion_rad: float) -> None:
        """Start with nothing seen.

        Args:
            frames: Identical frames in a row that make a source frozen, 0 for never.
            min_motion_rad: How far a joint must have moved since the first of them.
        """
        self._frames = frames
        self._min_motion_rad = min_motion_rad
        self._last: Any = None
        self._count = 0
        self._joints_at_first: NDArray[np.float64] | None = None
        self._moved_rad = 0.0

    def see(self, payload: Any, joints: NDArray[np.float64] | None) -> None:
        """Take the next payload.

        Args:
            payload: Anything with `==`; arrays of bytes compare in one sweep and stop at the first difference.
            joints: [J] newest joint positions (rad), None when unknown.
        """
        if self._count > 0 and payload == self._last:
            self._count += 1
        else:
            self._last, self._count = payload, 1
            self._joints_at_first, self._moved_rad = joints, 0.0
        if self._joints_at_first is None:
            self._joints_at_first = joints
        elif joints is not None:
            self._moved_rad = max(self._moved_rad, float(np.abs(joints - self._joints_at_first).max()))

    @property
    def is_frozen(self) -> bool:
        """Whether the source repeats itself."""
        return 0 < self._frames <= self._count and self._moved_rad >= self._min_motion_rad

    @property
    def repeats(self) -> int:
        """Identical payloads in a row, the newest one included."""
        return self._count
