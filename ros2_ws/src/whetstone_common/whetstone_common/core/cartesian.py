# SPDX-License-Identifier: Apache-2.0
"""The Cartesian action space: what an action relative to a pose means, and what a policy feels in it.

A Cartesian action is relative to the TCP pose measured at the chunk's observation and expressed in the base frame:
p = p_ref + d, R = exp(r) R_ref, gripper absolute.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from whetstone_common.core.kinematics import Pose, rotation_matrix, rotation_vector

Array = npt.NDArray[np.float64]


def displaced(reference: Pose, action: npt.NDArray[np.floating]) -> Pose:
    """Pose of a Cartesian action (first 6 numbers of `action`)."""
    turn = rotation_matrix(np.asarray(action[3:6], dtype=np.float64))
    return Pose(reference.position + action[:3], turn @ reference.rotation)


def displacement(reference: Pose, pose: Pose) -> Array:
    """(6,) the Cartesian action that leads from `reference` to `pose`; the inverse of `displaced`."""
    return np.concatenate([pose.position - reference.position, rotation_vector(pose.rotation @ reference.rotation.T)])


def cartesian_proprio(tcp: Pose, opening: float) -> npt.NDArray[np.float32]:
    """[10] as `CARTESIAN_PROPRIO` names it: TCP position (m), first two columns of its rotation, gripper opening."""
    columns = tcp.rotation[:, :2].T.ravel()
    out: npt.NDArray[np.float32] = np.concatenate([tcp.position, columns, [opening]]).astype(np.float32)
    return out
