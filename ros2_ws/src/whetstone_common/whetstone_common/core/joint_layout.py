# SPDX-License-Identifier: Apache-2.0
"""Names of a robot's joints and the travel of its gripper.

Legend: J joints of the arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


# What a policy is told of the opening of a robot that has no gripper, whatever it commands.
NO_GRIPPER_OPENING = 1.0


@dataclass(frozen=True)
class JointLayout:
    """Which joints the robot has, under which names.

    Attributes:
        arm: Names of the arm's joints, in the order that everything downstream uses.
        gripper: Name of the gripper's joint.
        gripper_closed: Its position when closed (the driver's unit).
        gripper_open: Its position when open.
        has_gripper: Whether there is one; a policy is told of an opening all the same.
    """

    arm: tuple[str, ...]
    gripper: str
    gripper_closed: float = 0.0
    gripper_open: float = 1.0
    has_gripper: bool = True

    def __post_init__(self) -> None:
        """Refuse a layout that cannot be mapped.

        Raises:
            ValueError: Repeated names, or a gripper without travel.
        """
        if not self.arm or len(set(self.names)) != len(self.names):
            raise ValueError(f"joint names must be distinct and at least one, got {self.names}")
        if not abs(self.gripper_open - self.gripper_closed) > 1e-9:
            raise ValueError(f"gripper opens to {self.gripper_open} and closes to {self.gripper_closed}: no travel")

    @property
    def names(self) -> tuple[str, ...]:
        """Arm joints, then the gripper."""
        return (*self.arm, self.gripper)

    @property
    def published(self) -> tuple[str, ...]:
        """Joints that the robot's drivers publish."""
        return self.names if self.has_gripper else self.arm

    def vector(self, positions: Sequence[float]) -> Array:
        """[J + 1] arm (rad), then the gripper's opening, 0 closed to 1 open.

        Args:
            positions: Of `published`, as the drivers report them.
        """
        if not self.has_gripper:
            return np.array([*positions, NO_GRIPPER_OPENING], dtype=np.float64)
        found = np.array(positions, dtype=np.float64)
        opening = (found[-1] - self.gripper_closed) / (self.gripper_open - self.gripper_closed)
        found[-1] = min(max(opening, 0.0), 1.0)
        return found
