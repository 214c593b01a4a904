# SPDX-License-Identifier: Apache-2.0
"""Joint states by name, and the proprioception made of them.

Legend: J joints of the arm, P proprioception dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whetstone_common.core.kinematics import Pose

Array = NDArray[np.float64]
# No arm has this many joints; a longer list is a mistake or an attack, and is not looked through.
MAX_NAMES = 256


class JointError(ValueError):
    """A joint state that cannot be used; `kind` is a word for the counter."""

    def __init__(self, kind: str, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class JointLayout:
    """Which joints the robot has, under which names.

    Attributes:
        arm: Names of the arm's joints, in the order that everything downstream uses.
        gripper: Name of the gripper's joint.
        gripper_closed: Its position when closed (the driver's unit).
        gripper_open: Its position when open.
    """

    arm: tuple[str, ...]
    gripper: str
    gripper_closed: float = 0.0
    gripper_open: float = 1.0

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

    def read(self, names: Sequence[str], positions: Sequence[float]) -> Array:
        """Positions in our order, whatever the order of the message; extra joints are ignored.

        Args:
            names: Of the message.
            positions: Of the message, in the order of `names`.

        Returns:
            [J + 1] arm (rad), then the gripper's opening, 0 closed to 1 open.

        Raises:
            JointError: Lengths differ, a name is missing or repeated, or a number is not finite.
        """
        if len(names) > MAX_NAMES or len(names) != len(positions):
            raise JointError("length", f"{len(names)} names and {len(positions)} positions")
        by_name = dict(zip(names, positions, strict=True))
        if len(by_name) != len(names):
            raise JointError("repeated", "a joint is named twice")
        missing = [name for name in self.names if name not in by_name]
        if missing:
            raise JointError("missing", f"joint {missing[0]} is missing")
        found = np.array([by_name[name] for name in self.names], dtype=np.float64)
        if not np.isfinite(found).all():
            raise JointError("not_finite", f"joint {self.names[int(np.argmin(np.isfinite(found)))]} is not finite")
        opening = (found[-1] - self.gripper_closed) / (self.gripper_open - self.gripper_closed)
        found[-1] = min(max(opening, 0.0), 1.0)
        return found


def proprioception(action_space: str, joints: Array, tcp: Pose) -> NDArray[np.float32]:
    """What the policy feels.

    Args:
        action_space: `cartesian`: TCP position (m), first two columns of its rotation, opening [10];
            `joint`: the joints themselves [J + 1].
        joints: [J + 1] arm (rad), then opening.
        tcp: Measured pose in the base frame.
    """
    if action_space == "joint":
        return joints.astype(np.float32)
    columns = tcp.rotation[:, :2].T.ravel()
    out: NDArray[np.float32] = np.concatenate([tcp.position, columns, joints[-1:]]).astype(np.float32)
    return out
