# SPDX-License-Identifier: Apache-2.0
"""Forward and inverse kinematics of an arm from its URDF.

Everything that turns a Cartesian target into joint targets (the arm node, the scripted expert, the observation)
uses this one class, so that a target means the same everywhere.

Legend: n joints, positions in metres and rotations in radians, both in the frame of the URDF's root link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pinocchio as pin

Array = npt.NDArray[np.float64]

DAMPING = 0.02  # of the least squares, against singular poses (weighted metres per radian)
FULL_DAMPING_M = 0.05  # weighted error from which on damping is full; it shrinks with the error, to converge
LEAST_DAMPING = 0.02  # share of DAMPING squared that always stays
POSTURE_GAIN = 0.2  # share of the way to the posture that one solution goes in the null space
MAX_ITERATIONS = 25
MAX_STEP_RAD = 0.5  # per iteration: the linearisation holds no further than this
POSITION_TOLERANCE_M = 1e-5
ROTATION_TOLERANCE_RAD = 1e-4


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid pose.

    Attributes:
        position: (3,) m.
        rotation: (3, 3) rotation matrix, columns are the axes of the posed frame.
    """

    position: Array
    rotation: Array

    @classmethod
    def from_quaternion_xyzw(cls, position: npt.ArrayLike, quaternion: npt.ArrayLike) -> Pose:
        """From a position (3,) m and a quaternion (x, y, z, w), which is normalised.

        Raises:
            ValueError: If a number is not finite or the quaternion is zero.
        """
        where, turn = np.array(position, dtype=np.float64), np.array(quaternion, dtype=np.float64)
        norm = float(np.linalg.norm(turn))
        if not (np.isfinite(where).all() and np.isfinite(norm) and norm > 1e-6):
            raise ValueError("a pose needs finite numbers and a quaternion that is not zero")
        return cls(where, np.asarray(pin.Quaternion(turn / norm).toRotationMatrix(), dtype=np.float64))

    def quaternion_xyzw(self) -> Array:
        """(x, y, z, w), with w >= 0."""
        turn = np.asarray(pin.Quaternion(self.rotation).coeffs(), dtype=np.float64)
        return turn if turn[3] >= 0.0 else -turn

    def distance_m(self, other: Pose) -> float:
        """Distance between the two positions (m)."""
        return float(np.linalg.norm(self.position - other.position))

    def angle_rad(self, other: Pose) -> float:
        """Angle of the rotation between the two orientations (rad)."""
        return float(np.linalg.norm(rotation_vector(self.rotation @ other.rotation.T)))


def rotation_vector(rotation: Array) -> Array:
    """Axis times angle of a (3, 3) rotation matrix, as (3,) rad."""
    return np.asarray(pin.log3(rotation), dtype=np.float64)


def rotation_matrix(vector: Array) -> Array:
    """The (3, 3) rotation matrix of an axis-times-angle vector (3,) rad."""
    return np.asarray(pin.exp3(np.asarray(vector, dtype=np.float64)), dtype=np.float64)


class Kinematics:
    """Kinematics from the root of a URDF to one of its frames, over a chosen order of joints."""

    def __init__(self, model: Any, tip: str, joint_names: Sequence[str], *, orientation_weight_m: float) -> None:
        """Use `from_urdf`; this takes a pinocchio model whose joints are exactly `joint_names`."""
        self._model = model
        self._data = model.createData()
        self._tip = model.getFrameId(tip)
        self._order = np.array([model.joints[model.getJointId(name)].idx_q for name in joint_names])
        self._weights = np.array([1.0] * 3 + [orientation_weight_m] * 3)
        self.joint_names: tuple[str, ...] = tuple(joint_names)
        self.lower: Array = np.asarray(model.lowerPositionLimit, dtype=np.float64)[self._order]
        self.upper: Array = np.asarray(model.upperPositionLimit, dtype=np.float64)[self._order]

    @classmethod
    def from_urdf(
        cls, xml: str, tip: str, joint_names: Sequence[str], *, orientation_weight_m: float = 0.3
    ) -> Kinematics:
        """Build from URDF text; joints that are not named stay at zero.

        Args:
            xml: The URDF itself, not its path.
            tip: Link whose pose is solved for.
            joint_names: The n joints, in the order of every `q` given or returned.
            orientation_weight_m: What an error of 1 rad costs, as metres. Arms with fewer than six joints
                cannot meet both: a low weight lets position win.

        Raises:
            ValueError: If the tip or a joint is not in the URDF, or a joint is not a one-degree joint.
        """
        full = pin.buildModelFromXML(xml)
        if not full.existFrame(tip):
            raise ValueError(f"the URDF has no link {tip!r}")
        known = list(full.names)[1:]
        missing = [name for name in joint_names if name not in known]
        if missing or len(set(joint_names)) != len(joint_names):
            raise ValueError(f"joints {missing or list(joint_names)} are missing or repeated; the URDF has {known}")
        locked = [full.getJointId(name) for name in known if name not in joint_names]
        model = pin.buildReducedModel(full, locked, pin.neutral(full)) if locked else full
        if model.nq != len(joint_names) or model.nv != model.nq:
            raise ValueError("continuous and multi-degree joints are not supported: give each joint its limits")
        return cls(model, tip, joint_names, orientation_weight_m=orientation_weight_m)

    def fk(self, q: npt.ArrayLike) -> Pose:
        """Pose of the tip at joint positions `q` (n,) rad."""
        self._forward(self._joints(q))
        return self._tip_pose()

    def jacobian(self, q: npt.ArrayLike) -> Array:
        """(6, n) rows m/s then rad/s of the tip in the base frame, per rad/s of each joint, at `q` (n,) rad."""
        joints = self._joints(q)
        self._forward(joints)
        return self._jacobian(joints)

    def ik(self, q0: npt.ArrayLike, target: Pose, *, posture: npt.ArrayLike | None = None) -> Array:
        """Joint positions that bring the tip to `target`, as near as joint limits and reach allow.

        Damped least squares from `q0`; the same input gives the same output bit for bit.

        Args:
            q0: (n,) rad to start from: the last solution, or the measured joints.
            target: Wanted pose of the tip.
            posture: (n,) rad that spare degrees of freedom drift towards; None leaves them where they are.

        Returns:
            (n,) rad within the limits: of all iterates the one nearest to the target.

        Raises:
            ValueError: If a size is wrong or a number is not finite.
        """
        if not (np.isfinite(target.position).all() and np.isfinite(target.rotation).all()):
            raise ValueError("the target pose is not finite")
        q = np.clip(self._joints(q0), self.lower, self.upper)
        if posture is not None:
            q = self._towards_posture(q, self._joints(posture))
        best, best_error = q, np.inf
        for _ in range(MAX_ITERATIONS):
            self._forward(q)
            error = self._error(target)
            size = float(np.linalg.norm(self._weights * error))
            if size < best_error:
                best, best_error = q, size
            if np.linalg.norm(error[:3]) < POSITION_TOLERANCE_M and np.linalg.norm(error[3:]) < ROTATION_TOLERANCE_RAD:
                break
            q = np.clip(q + self._step(q, error), self.lower, self.upper)
        return best

    def _joints(self, q: npt.ArrayLike) -> Array:
        joints = np.array(q, dtype=np.float64)
        if joints.shape != self.lower.shape:
            raise ValueError(f"expected {self.lower.shape[0]} joint positions, got shape {joints.shape}")
        if not np.isfinite(joints).all():
            raise ValueError("joint positions are not finite")
        return joints

    def _forward(self, q: Array) -> None:
        pin.forwardKinematics(self._model, self._data, self._to_model(q))
        pin.updateFramePlacement(self._model, self._data, self._tip)

    def _to_model(self, q: Array) -> Array:
        out = np.empty_like(q)
        out[self._order] = q
        return out

    def _tip_pose(self) -> Pose:
        placement = self._data.oMf[self._tip]
        return Pose(placement.translation.copy(), placement.rotation.copy())

    def _jacobian(self, q: Array) -> Array:
        full = pin.computeFrameJacobian(
            self._model, self._data, self._to_model(q), self._tip, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )
        return np.asarray(full, dtype=np.float64)[:, self._order]

    def _error(self, target: Pose) -> Array:
        tip = self._data.oMf[self._tip]
        turn = rotation_vector(target.rotation @ tip.rotation.T)
        return np.concatenate([target.position - tip.translation, turn])

    def _step(self, q: Array, error: Array) -> Array:
        jacobian = self._weights[:, None] * self._jacobian(q)
        weighted = self._weights * error
        share = min(1.0, max(LEAST_DAMPING, float(np.linalg.norm(weighted)) / FULL_DAMPING_M))
        square = jacobian @ jacobian.T + share * DAMPING**2 * np.eye(6)
        step = jacobian.T @ np.linalg.solve(square, weighted)
        longest = float(np.abs(step).max())
        return step * min(1.0, MAX_STEP_RAD / longest) if longest > 0.0 else step

    def _towards_posture(self, q: Array, posture: Array) -> Array:
        # One step in the null space before the iterations: they then remove what it moved the tip, so the
        # posture costs no accuracy.
        self._forward(q)
        jacobian = self._weights[:, None] * self._jacobian(q)
        square = jacobian @ jacobian.T + DAMPING**2 * np.eye(6)
        wish = POSTURE_GAIN * (posture - q)
        free = wish - jacobian.T @ np.linalg.solve(square, jacobian @ wish)
        return np.clip(q + free, self.lower, self.upper)
