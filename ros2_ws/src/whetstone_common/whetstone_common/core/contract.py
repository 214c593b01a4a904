# SPDX-License-Identifier: Apache-2.0
"""What two sides must agree on before a chunk of one may move the arm of the other.

Legend: A action dims, P proprioception dims.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from dataclasses import asdict, dataclass, field, fields

ACTION_SPACES = ("cartesian", "joint")
NO_CONTRACT = "no policy_contract yet"  # why an arm is not armed until the policy has said what its numbers mean
# Fields that name the weights, not their meaning: another training run of the same policy keeps its contract.
_NOT_HASHED = {"model_id", "weights_sha256"}
CARTESIAN_ACTIONS = ("dx_m", "dy_m", "dz_m", "rx_rad", "ry_rad", "rz_rad", "gripper")
CARTESIAN_PROPRIO = (
    "tcp_x_m", "tcp_y_m", "tcp_z_m", "tcp_r11", "tcp_r21", "tcp_r31", "tcp_r12", "tcp_r22", "tcp_r32", "gripper",
)  # fmt: skip


@dataclass(frozen=True)
class Contract:
    """Shapes, names, units and normalisation of a policy; as in vla_interfaces/PolicyContract.

    Attributes:
        action_space: "cartesian" or "joint".
        action_names: [A].
        action_scale: [A], physical = normalised * scale + offset.
        action_offset: [A].
        proprio_names: [P].
        cameras: Camera names in the policy's order.
        image_height: Rows (px).
        image_width: Columns (px).
        horizon: Steps of a chunk.
        feature_dim: Length of the features, 0 for a policy that has none.
        readout_names: Of the last features: what the policy's own eyes read from its images, such as where the object
            is in the hand's frame. Normalised proprioception comes before them, and what is not compact before that.
        feature_version: Which training the features come from; empty for those that the model was made with.
        dt_s: Seconds between two steps.
        joint_names: Arm joints, then the gripper.
        model_id: Name of the weights, for reports.
        weights_sha256: Hash of the served weights, empty when there are none.
    """

    action_space: str
    action_names: tuple[str, ...]
    action_scale: tuple[float, ...]
    action_offset: tuple[float, ...]
    proprio_names: tuple[str, ...]
    cameras: tuple[str, ...]
    image_height: int
    image_width: int
    horizon: int
    feature_dim: int
    dt_s: float
    joint_names: tuple[str, ...]
    readout_names: tuple[str, ...] = ()
    feature_version: str = ""
    model_id: str = field(default="", compare=False)
    weights_sha256: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse a contract that contradicts itself.

        Raises:
            ValueError: The text names the field.
        """
        for name in ("action_scale", "action_offset"):
            # Messages carry 32-bit floats; both sides of the wire must hash the same numbers.
            object.__setattr__(self, name, tuple(array("f", getattr(self, name))))
        if self.action_space not in ACTION_SPACES:
            raise ValueError(f"action_space is {self.action_space!r}, not {' or '.join(ACTION_SPACES)}")
        for name in ("image_height", "image_width", "horizon", "feature_dim"):
            least = 0 if name == "feature_dim" else 1
            if not least <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")
        if not (math.isfinite(self.dt_s) and self.dt_s > 0.0):
            raise ValueError(f"dt_s is {self.dt_s}, must be finite and positive")
        self._check_names()
        self._check_normalisation()

    def _check_names(self) -> None:
        for name in ("action_names", "proprio_names", "cameras", "joint_names"):
            names = getattr(self, name)
            if not names or len(set(names)) != len(names):
                raise ValueError(f"{name} must be distinct and at least one, got {names}")
        names = self.readout_names
        if len(set(names)) != len(names) or len(names) > self.feature_dim:
            raise ValueError(f"readout_names must be distinct and at most feature_dim {self.feature_dim}, got {names}")

    def _check_normalisation(self) -> None:
        for name in ("action_scale", "action_offset"):
            values = getattr(self, name)
            if len(values) != self.action_dim:
                raise ValueError(f"{name} has {len(values)} entries, action_names has {self.action_dim}")
            if not all(map(math.isfinite, values)):
                raise ValueError(f"{name} is not finite: {values}")
        if not all(scale > 0.0 for scale in self.action_scale):
            raise ValueError(f"action_scale must be positive: {self.action_scale}")

    @property
    def action_dim(self) -> int:
        """A."""
        return len(self.action_names)

    @property
    def proprio_dim(self) -> int:
        """P."""
        return len(self.proprio_names)

    @property
    def state_features(self) -> int:
        """How many of the features, the last ones, are numbers of the robot's state: proprioception and readouts."""
        return min(self.feature_dim, self.proprio_dim + len(self.readout_names))

    def hash(self) -> str:
        """SHA-256 (hex) of the canonical text; equal hashes mean the same thing by the same numbers."""
        meaning = {name: value for name, value in asdict(self).items() if name not in _NOT_HASHED}
        if not self.feature_version:
            del meaning["feature_version"]  # hashes of earlier releases had no such field
        text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: Contract) -> list[str]:
        """One line per field in which the two differ, with both values; empty when the hashes agree."""
        return [
            f"{f.name}: {getattr(self, f.name)} here, {getattr(other, f.name)} there"
            for f in fields(self)
            if f.name not in _NOT_HASHED and getattr(self, f.name) != getattr(other, f.name)
        ]


class ContractBinding:
    """The contract that a node is bound to, and the others it has heard of, so that a refusal can name the field."""

    def __init__(self, *, remember: int = 16) -> None:
        """Start unbound.

        Args:
            remember: How many foreign contracts are kept.
        """
        self._remember = remember
        self._foreign: dict[str, Contract] = {}
        self.bound: Contract | None = None
        self.bound_hash = ""

    def bind(self, contract: Contract) -> list[str]:
        """Bind to the first contract; return how a later one differs (empty = the same)."""
        digest = contract.hash()
        if self.bound is None or digest == self.bound_hash:
            # The same meaning may come with newer weights: their names are kept up to date.
            self.bound, self.bound_hash = contract, digest
            return []
        if len(self._foreign) >= self._remember:
            self._foreign.pop(next(iter(self._foreign)))
        self._foreign[digest] = contract
        return self.bound.differences(contract)

    def refusal(self, contract_hash: str) -> str:
        """Why data of that hash is refused; empty when it is not."""
        if self.bound is None:
            return "no policy_contract received yet"
        if contract_hash == self.bound_hash:
            return ""
        if contract_hash in self._foreign:
            return "; ".join(self.bound.differences(self._foreign[contract_hash]))
        return f"contract_hash: {self.bound_hash[:12]} here, {contract_hash[:12] or 'empty'} there"

    def forget(self) -> None:
        """Unbind: the next contract offered is taken."""
        self._foreign.clear()
        self.bound, self.bound_hash = None, ""
