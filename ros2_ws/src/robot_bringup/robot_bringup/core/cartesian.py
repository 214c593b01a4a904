# SPDX-License-Identifier: Apache-2.0
"""From a step of a chunk to where the joints should be, and back.

Cartesian actions are those of `whetstone_common.core.cartesian`. A joint action is the joint targets minus the measured
joints.

Legend: n joints; a pose as 7 numbers is x y z (m) qx qy qz qw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whetstone_common.core.kinematics import Kinematics, Pose, rotation_matrix, rotation_vector

Array = npt.NDArray[np.float64]

_UNIT_TOLERANCE = 1e-3
# Solutions further than this from the wanted position are no solution (m).
MAX_IK_ERROR_M = 0.1


class UnreachableError(ValueError):
    """No joint positions bring the TCP near enough to the target."""


@dataclass(frozen=True, eq=False)
class Target:
    """Where arm and gripper should be at the end of a step.

    Attributes:
        joints: (n,) rad.
        opening: Gripper, 0..1 (not yet limited).
    """

    joints: Array
    opening: float


def pose_from_seven(values: npt.ArrayLike) -> Pose:
    """Pose of x y z qx qy qz qw.

    Raises:
        ValueError: Not seven finite numbers, or no unit quaternion.
    """
    seven = np.asarray(values, dtype=np.float64)
    if seven.shape != (7,) or not np.isfinite(seven).all():
        raise ValueError(f"a pose needs 7 finite numbers, got {seven}")
    norm = float(np.linalg.norm(seven[3:]))
    if not abs(norm - 1.0) <= _UNIT_TOLERANCE:
        raise ValueError(f"the quaternion {seven[3:]} has length {norm:.4f}")
    x, y, z, w = seven[3:] / norm
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return Pose(seven[:3].copy(), rotation)


def seven_from_pose(pose: Pose) -> Array:
    """(7,) x y z qx qy qz qw of a pose, qw not negative."""
    turn = rotation_vector(pose.rotation)
    angle = float(np.linalg.norm(turn))
    # sin(angle / 2) / angle, which is 1/2 at zero.
    scale = 0.5 * float(np.sinc(angle / 2.0 / np.pi))
    return np.concatenate([pose.position, scale * turn, [np.cos(angle / 2.0)]])


def between(start: Pose, end: Pose, share: float) -> Pose:
    """Position on the straight line and orientation on the shortest turn, `share` of the way."""
    turn = rotation_vector(end.rotation @ start.rotation.T)
    position = start.position + share * (end.position - start.position)
    return Pose(position, rotation_matrix(share * turn) @ start.rotation)


def solve(kinematics: Kinematics, start: Array, pose: Pose, posture: Array) -> Array:
    """(n,) joints that bring the TCP to `pose`, found from `start`.

    Raises:
        UnreachableError: They stay further away than MAX_IK_ERROR_M.
    """
    joints = kinematics.ik(start, pose, posture=posture)
    error_m = kinematics.fk(joints).distance_m(pose)
    if not error_m <= MAX_IK_ERROR_M:
        raise UnreachableError(f"TCP target {np.round(pose.position, 3)} is out of reach by {error_m:.3f} m")
    return joints
