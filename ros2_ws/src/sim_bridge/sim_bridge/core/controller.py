# SPDX-License-Identifier: Apache-2.0
"""Simulated joint trajectory controller: follows the newest trajectory, then holds its last point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim_bridge.core.commands import Trajectory

Array = npt.NDArray[np.float64]


class Controller:
    """Interpolates linearly between the points of a trajectory, starting at its current target.

    Without commands it holds the last target, as a position controller does.
    """

    def __init__(self, joints: npt.ArrayLike, opening: float) -> None:
        """Hold `joints` (n,) rad and `opening`."""
        self._joints: Array = np.array(joints, dtype=np.float64)
        self._opening = opening
        self._arm_path: tuple[Array, Array] | None = None  # times (P+1,) s, joints (P+1, n) rad
        self._gripper_path: tuple[Array, Array] | None = None

    def follow(self, trajectory: Trajectory, now_s: float) -> None:
        """Replace the current trajectory by `trajectory`, starting at `now_s`."""
        joints, opening = self.sample(now_s)
        times = np.concatenate([[now_s], now_s + trajectory.times_s])
        self._joints, self._opening = joints, opening
        self._arm_path = (times, np.vstack([joints, trajectory.joints]))
        if trajectory.openings is not None:
            self._gripper_path = (times, np.concatenate([[opening], trajectory.openings]))

    def set_opening(self, opening: float) -> None:
        """Command only the gripper."""
        self._gripper_path = None
        self._opening = opening

    def hold(self, now_s: float) -> None:
        """Hold the current command."""
        self._joints, self._opening = self.sample(now_s)
        self._arm_path = self._gripper_path = None

    def sample(self, now_s: float) -> tuple[Array, float]:
        """Joint targets (n,) rad and gripper opening at `now_s`."""
        joints, opening = self._joints, self._opening
        if self._arm_path is not None:
            joints = _interpolate(*self._arm_path, now_s)
        if self._gripper_path is not None:
            times, openings = self._gripper_path
            opening = float(_interpolate(times, openings[:, None], now_s)[0])
        return joints, opening


def _interpolate(times_s: Array, values: Array, now_s: float) -> Array:
    # side="right": of two points at the same time the later one counts, which makes a time of zero a jump.
    after = int(np.searchsorted(times_s, now_s, side="right"))
    if after == 0:
        return np.array(values[0])
    if after == len(times_s):
        return np.array(values[-1])
    share = (now_s - times_s[after - 1]) / (times_s[after] - times_s[after - 1])
    return np.array(values[after - 1] + share * (values[after] - values[after - 1]))
