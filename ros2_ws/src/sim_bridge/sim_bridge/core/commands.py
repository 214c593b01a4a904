# SPDX-License-Identifier: Apache-2.0
"""Validation of received commands before they are executed. Legend: P points, n arm joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class CommandRefusal(Enum):
    """Reason why a command is rejected; the value is the name of a counter."""

    NAMES = "refused_names"
    SIZE = "refused_size"
    NOT_FINITE = "refused_not_finite"
    TIMES = "refused_times"
    EMPTY = "refused_empty"
    INACTIVE = "refused_inactive"
    STALE = "refused_stale"


class CommandRefused(ValueError):
    """A command was rejected.

    Attributes:
        refusal: Reason.
    """

    def __init__(self, refusal: CommandRefusal, detail: str) -> None:
        """Store the reason with its text."""
        super().__init__(detail)
        self.refusal = refusal


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Joint targets over time, counted from acceptance.

    Attributes:
        times_s: (P,) increasing, time at which each point is reached.
        joints: (P, n) rad, in the arm's order.
        openings: (P,) of the gripper, 1 open, 0 closed; None does not change the gripper.
    """

    times_s: Array
    joints: Array
    openings: Array | None


def parse_trajectory(
    arm: Sequence[str],
    gripper: str,
    names: Sequence[str],
    points: Sequence[tuple[float, Sequence[float]]],
) -> Trajectory:
    """Validate a joint trajectory and reorder it to the arm's joint order.

    Args:
        arm: Names of the n arm joints.
        gripper: Name of the gripper joint, which is optional in a trajectory.
        names: Joint names of the trajectory.
        points: Time (s) and positions of each point, in the order of `names`.

    Raises:
        CommandRefused: If it is invalid.
    """
    if len(set(names)) != len(names) or set(names) - {gripper} != set(arm):
        raise CommandRefused(
            CommandRefusal.NAMES, f"joint names {list(names)}, expected {list(arm)} and maybe {gripper!r}"
        )
    if not points:
        raise CommandRefused(CommandRefusal.EMPTY, "a trajectory without points")
    if any(len(positions) != len(names) for _, positions in points):
        sizes = [len(positions) for _, positions in points]
        raise CommandRefused(CommandRefusal.SIZE, f"points with {sizes} positions for {len(names)} joints")
    times = np.array([time for time, _ in points], dtype=np.float64)
    positions = np.array([list(positions) for _, positions in points], dtype=np.float64)
    if not (np.isfinite(positions).all() and np.isfinite(times).all()):
        raise CommandRefused(CommandRefusal.NOT_FINITE, "a trajectory with a number that is not finite")
    if times[0] < 0.0 or (np.diff(times) <= 0.0).any():
        raise CommandRefused(CommandRefusal.TIMES, f"times {times.tolist()} s do not grow from zero")
    order = [list(names).index(name) for name in arm]
    openings = positions[:, list(names).index(gripper)] if gripper in names else None
    return Trajectory(times, positions[:, order], openings)


def parse_array(joints: int, values: Sequence[float]) -> Trajectory:
    """Validate a forward command: `joints` positions, and optionally the gripper opening as one more value.

    Raises:
        CommandRefused: If it is invalid.
    """
    if len(values) not in (joints, joints + 1):
        raise CommandRefused(CommandRefusal.SIZE, f"{len(values)} values, expected {joints} or {joints + 1}")
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise CommandRefused(CommandRefusal.NOT_FINITE, "a command with a number that is not finite")
    openings = array[joints:] if len(values) > joints else None
    return Trajectory(np.zeros(1), array[None, :joints], openings)


def parse_opening(values: Sequence[float]) -> float:
    """Validate a gripper command: one value.

    Raises:
        CommandRefused: If it is invalid.
    """
    if len(values) != 1:
        raise CommandRefused(CommandRefusal.SIZE, f"{len(values)} values for the gripper, expected 1")
    if not np.isfinite(values[0]):
        raise CommandRefused(CommandRefusal.NOT_FINITE, "a gripper opening that is not finite")
    return float(values[0])
