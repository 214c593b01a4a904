# SPDX-License-Identifier: Apache-2.0
"""Which joint values a robot can have: another unit or another order of joints shows in values outside.

Legend: T frames, J joints of the arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# What is measured of a good arm may lie so far beyond the limits of its commands.
TOLERANCE_RAD = 0.1
TOLERANCE_OPENING = 0.1


@dataclass(frozen=True)
class Outside:
    """A value beyond the limits, the first one.

    Attributes:
        frame: Its row.
        joint: Its name.
        value: rad, or the opening of the gripper.
        lower: Smallest value allowed, tolerance included.
        upper: Largest value allowed, tolerance included.
        unit: `rad` or `of the opening`.
    """

    frame: int
    joint: str
    value: float
    lower: float
    upper: float
    unit: str

    def __str__(self) -> str:
        """What is wrong, the value, and what is allowed."""
        return f"{self.joint} is {self.value:.4g} {self.unit}, allowed: {self.lower:.4g} to {self.upper:.4g}"


@dataclass(frozen=True, eq=False)
class JointRange:
    """Names and limits of arm and gripper.

    Attributes:
        names: Of J arm joints, then of the gripper.
        lower: [J] rad.
        upper: [J] rad.
    """

    names: tuple[str, ...]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def first_outside(self, values: NDArray[np.floating]) -> Outside | None:
        """The first value that the robot cannot have had; None if there is none.

        Args:
            values: [T, J + 1] arm (rad), then the gripper's opening; one that is not finite is outside.
        """
        low = np.append(self.lower - TOLERANCE_RAD, -TOLERANCE_OPENING)
        high = np.append(self.upper + TOLERANCE_RAD, 1.0 + TOLERANCE_OPENING)
        bad = np.argwhere(~((values >= low) & (values <= high)))
        if not len(bad):
            return None
        frame, column = (int(index) for index in bad[0])
        unit = "rad" if column < len(self.lower) else "of the opening"
        value = float(values[frame, column])
        return Outside(frame, self.names[column], value, float(low[column]), float(high[column]), unit)


def names_problem(found: Sequence[str], wanted: Sequence[str]) -> str:
    """Why a list of joint names is not the robot's; empty when it is."""
    if tuple(found) == tuple(wanted):
        return ""
    kind = "in another order" if sorted(found) == sorted(wanted) else "other names"
    return f"{list(found)}, {kind} than the robot's {list(wanted)}"
