# SPDX-License-Identifier: Apache-2.0
"""Executed commands as actions of a chunk: relative to what was measured when the window's decision was made.

The command of a step is absolute (where the TCP, or the joints, were commanded to be). Chunks that played one after
another had references of their own, and a human has none; relative to the one reference of the window all of them
mean the same thing.

Legend: K steps, J joints of the arm, A action dims.
"""

from __future__ import annotations

import numpy as np

from experience.core.records import Doubles, Floats
from experience.core.windows import normalised
from whetstone_common.core.contract import Contract

_TINY = 1e-12


def policy_actions(contract: Contract, reference: Doubles, tcp_targets: Doubles, commands: Doubles) -> Floats:
    """(K, A) commands in the action space and the units of a policy.

    Args:
        contract: Of the policy.
        reference: (7,) pose or (J,) rad that the chunk is relative to.
        tcp_targets: (K, 7) commanded poses.
        commands: (K, J + 1) commanded joints (rad), then the gripper's opening.
    """
    if contract.action_space == "cartesian":
        physical = cartesian_actions(reference, tcp_targets, commands[:, -1])
    else:
        physical = joint_actions(reference, commands)
    return normalised(physical, contract.action_scale, contract.action_offset)


def cartesian_actions(reference: Doubles, tcp_targets: Doubles, openings: Doubles) -> Doubles:
    """(K, 7) dx dy dz (m), rotation vector (rad), opening: p = p_ref + d, R = exp(r) R_ref, base frame.

    Args:
        reference: (7,) x y z qx qy qz qw.
        tcp_targets: (K, 7) commanded poses.
        openings: (K,) of the gripper.
    """
    turns = rotation_vectors(_times_conjugate(tcp_targets[:, 3:], reference[3:]))
    return np.concatenate([tcp_targets[:, :3] - reference[:3], turns, openings[:, None]], axis=1)


def joint_actions(reference: Doubles, joint_commands: Doubles) -> Doubles:
    """(K, J + 1) joint targets minus the measured joints (rad), opening.

    Args:
        reference: (J,) rad.
        joint_commands: (K, J + 1) rad, then opening.
    """
    return np.concatenate([joint_commands[:, :-1] - reference, joint_commands[:, -1:]], axis=1)


def rotation_vectors(quaternions: Doubles) -> Doubles:
    """(K, 3) axis times angle (rad, at most pi) of unit quaternions (K, 4) x y z w."""
    # q and -q are one rotation; the one with w >= 0 has the smaller angle.
    signed = quaternions * np.where(quaternions[:, 3:] < 0.0, -1.0, 1.0)
    sine = np.linalg.norm(signed[:, :3], axis=1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, signed[:, 3:])
    # angle / sin(angle / 2) tends to 2 where both vanish.
    return signed[:, :3] * np.where(sine > _TINY, angle / np.maximum(sine, _TINY), 2.0)


def _times_conjugate(left: Doubles, right: Doubles) -> Doubles:
    """(K, 4) left * conjugate(right) for (K, 4) and (4,), x y z w."""
    v, w = left[:, :3], left[:, 3:]
    rv, rw = -right[:3], right[3]
    vector = w * rv + rw * v + np.cross(v, np.broadcast_to(rv, v.shape))
    return np.concatenate([vector, w * rw - v @ rv[:, None]], axis=1)
