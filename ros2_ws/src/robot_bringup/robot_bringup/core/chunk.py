# SPDX-License-Identifier: Apache-2.0
"""One chunk of actions, and whether it may be played at all.

Legend: H horizon, A action dims, n arm joints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from robot_bringup.core.cartesian import pose_from_seven
from whetstone_common.core.contract import Contract
from whetstone_common.core.reason import Reason, ReasonedError
from whetstone_common.core.stamp import Stamp

Array = npt.NDArray[np.float64]

CARTESIAN, JOINT = "cartesian", "joint"
# No action of an arm, in m, rad or gripper openings, is larger; bigger numbers are garbage of a float's other end.
_LARGEST_ACTION = 100.0
_MAX_VALID_FOR_S = 60.0
# An observation from the future never expires, so it is refused (allowance for the clocks of two machines).
FUTURE_TOLERANCE_S = 0.02


@dataclass(frozen=True, eq=False)
class Chunk:
    """What the policy wants the arm to do.

    Attributes:
        stamp: The request cycle it answers; `observation_ns` is filled in.
        source: Name of the publishing node.
        source_epoch: Identity of its process.
        contract_hash: Of the policy.
        space: "cartesian" or "joint".
        action_names: [A].
        reference: (7,) TCP pose or (n,) joints that the actions are relative to.
        dt_s: Seconds per step.
        actions: (H, A) physical units; step k is the command for tick k after the observation.
        execute_steps: How many steps may play before a new chunk is needed.
        valid_for_s: It may start no later than this after its observation.
        stages_s: How long each stage on its way took.
    """

    stamp: Stamp
    source: str
    source_epoch: int
    contract_hash: str
    space: str
    action_names: tuple[str, ...]
    reference: Array
    dt_s: float
    actions: Array
    execute_steps: int
    valid_for_s: float
    stages_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def horizon(self) -> int:
        """H."""
        return int(self.actions.shape[0])


def check_chunk(chunk: Chunk, contract: Contract, contract_hash: str, joints: int) -> None:
    """Refuse a chunk whose content does not fit the contract or cannot be meant.

    Args:
        chunk: The chunk.
        contract: What the arm was armed for.
        contract_hash: Hash of `contract`.
        joints: Arm joints.

    Raises:
        ReasonedError: CONTRACT_MISMATCH, NOT_FINITE or BAD_MESSAGE, with the field in the text.
    """
    _check_contract(chunk, contract, contract_hash)
    # Finite first: every comparison with NaN is false, and nothing is ever clamped to something from NaN.
    if not np.isfinite(chunk.actions).all():
        step, column = map(int, np.argwhere(~np.isfinite(chunk.actions))[0])
        value = chunk.actions[step, column]
        raise ReasonedError(Reason.NOT_FINITE, f"actions[{step}, {chunk.action_names[column]}] = {value}")
    if not np.isfinite(chunk.reference).all():
        raise ReasonedError(Reason.NOT_FINITE, f"reference {chunk.reference}")
    if not np.abs(chunk.actions).max() <= _LARGEST_ACTION:
        raise ReasonedError(Reason.LIMIT_EXCEEDED, f"an action of {np.abs(chunk.actions).max():.3g} cannot be meant")
    _check_reference(chunk, joints)
    if not (math.isfinite(chunk.valid_for_s) and 0.0 < chunk.valid_for_s <= _MAX_VALID_FOR_S):
        raise ReasonedError(Reason.BAD_MESSAGE, f"valid_for_s = {chunk.valid_for_s}, range (0, {_MAX_VALID_FOR_S}]")
    if not 1 <= chunk.execute_steps <= chunk.horizon:
        raise ReasonedError(Reason.BAD_MESSAGE, f"execute_steps = {chunk.execute_steps}, range [1, {chunk.horizon}]")


def _check_contract(chunk: Chunk, contract: Contract, contract_hash: str) -> None:
    pairs = {
        "contract_hash": (chunk.contract_hash, contract_hash),
        "space": (chunk.space, contract.action_space),
        "action_names": (chunk.action_names, contract.action_names),
        "shape": (chunk.actions.shape, (contract.horizon, contract.action_dim)),
    }
    for name, (got, expected) in pairs.items():
        if got != expected:
            raise ReasonedError(Reason.CONTRACT_MISMATCH, f"{name} is {got}, expected {expected}")
    if not math.isclose(chunk.dt_s, contract.dt_s, rel_tol=1e-6):
        raise ReasonedError(Reason.CONTRACT_MISMATCH, f"dt_s is {chunk.dt_s}, expected {contract.dt_s}")


def _check_reference(chunk: Chunk, joints: int) -> None:
    if chunk.space == JOINT:
        if chunk.reference.shape != (joints,):
            raise ReasonedError(Reason.BAD_MESSAGE, f"reference has {chunk.reference.size} joints, expected {joints}")
        return
    try:
        pose_from_seven(chunk.reference)
    except ValueError as error:
        raise ReasonedError(Reason.BAD_MESSAGE, f"reference: {error}") from error
