# SPDX-License-Identifier: Apache-2.0
"""Between the robot's numbers and a published model's: names, order, units, normalisation, absolute or relative.

The contract's chunks are relative to the state at the observation, the gripper's opening is absolute. A model whose
actions are absolute is served by the same numbers shifted by the state: everything behind it sees one convention.
Legend: A contract's actions, P contract's proprioception, M model's state dims, D model's (padded) action dims.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_policy.core.normalise import FloatArray, PolicyStats, Stats
from vla_policy.core.published.mapping import ModelFacts, ModelMapping, cameras_in_order, relative_mask
from vla_policy.core.published.statistics import Array

_FLOOR = 1e-4  # least scale of a contract's dimension: one that never moved in the data must not divide by nothing
_CARTESIAN_GRIPPER = 9  # of the contract's proprioception


@dataclass(frozen=True, eq=False)
class ModelAdapter:
    """What a mapping file amounts to.

    Attributes:
        state_source: [M] number of the contract's proprioception.
        state_gain: [M] model's normalised state = gain * proprioception + bias.
        state_bias: [M].
        action_order: [D] model's dimension for each of the contract's and then for the padding.
        gain: [A] contract's normalised action = gain * model's + shift.
        shift: [A] of a state of zero.
        shift_by_state: [A] change of the shift by the state's number `state_of_action`.
        state_of_action: [A].
    """

    state_source: NDArray[np.int64]
    state_gain: Array
    state_bias: Array
    action_order: NDArray[np.int64]
    gain: Array
    shift: Array
    shift_by_state: Array
    state_of_action: NDArray[np.int64]

    def state(self, proprio: FloatArray) -> FloatArray:
        """[P] raw -> [M] normalised as the model was trained."""
        return np.asarray(proprio[self.state_source] * self.state_gain + self.state_bias, dtype=np.float32)

    def shift_at(self, proprio: FloatArray) -> FloatArray:
        """[A] of one observation."""
        moved = self.shift + self.shift_by_state * proprio[self.state_of_action].astype(np.float64)
        return np.asarray(moved, dtype=np.float32)

    def to_contract(self, chunks: FloatArray, shift: FloatArray) -> FloatArray:
        """[..., A] of the model, in the contract's order -> [..., A] of the contract."""
        return np.asarray(chunks * self.gain.astype(np.float32) + shift, dtype=np.float32)

    def to_model(self, chunks: FloatArray, shift: FloatArray) -> FloatArray:
        """[..., A] of the contract -> [..., A] of the model; what the model cannot say is its mean."""
        gain = self.gain.astype(np.float32)
        return np.asarray(np.where(gain == 0.0, 0.0, (chunks - shift) / np.where(gain == 0.0, 1.0, gain)), np.float32)

    def is_plain(self, stats: PolicyStats) -> bool:
        """Whether statistics alone say the same, so that the model can be fine-tuned and written with them."""
        is_action_plain = (self.gain == 1.0).all() and not self.shift.any() and not self.shift_by_state.any()
        is_whole = np.array_equal(self.state_source, np.arange(stats.proprio.dim))
        scale = np.asarray(stats.proprio.std)
        return bool(is_action_plain and is_whole and np.allclose(self.state_gain * scale, 1.0, rtol=1e-5))


def adapter_of(
    mapping: ModelMapping, model: ModelFacts, joint_names: tuple[str, ...] = ()
) -> tuple[ModelAdapter, PolicyStats]:
    """The adapter of a mapping that fits, and the statistics of the contract.

    Args:
        mapping: The file.
        model: What the checkpoint or the server says.
        joint_names: The robot's joints, the gripper last; empty for the order in which the file names them.
    """
    actions, proprio = mapping.action_names(joint_names), mapping.proprio_names(joint_names)
    dims = [next(i for i, entry in enumerate(mapping.action) if entry.name == name) for name in actions]
    rest = [i for i in range(model.max_action_dim) if i not in dims]
    slope, base, sign = _action_terms(mapping, model, dims, joint_names)
    scale = np.maximum(np.abs(slope), _FLOOR)
    offset = np.where(sign == 0.0, base, 0.0)
    states = np.arange(len(actions)) if mapping.action_space == "joint" else np.full(len(actions), _CARTESIAN_GRIPPER)
    source, gain, bias = _state_terms(mapping, model, proprio)
    adapter = ModelAdapter(
        state_source=source,
        state_gain=gain,
        state_bias=bias,
        action_order=np.asarray([*dims, *rest], dtype=np.int64),
        gain=slope / scale,
        shift=(base - offset) / scale,
        shift_by_state=sign / scale,
        state_of_action=np.asarray(states, dtype=np.int64),
    )
    stats = PolicyStats(
        action=Stats(tuple(map(float, offset)), tuple(map(float, scale))),
        proprio=_proprio_stats(mapping, model, proprio),
        cameras=cameras_in_order(mapping, model),
        dt_s=mapping.dt_s,
        action_space=mapping.action_space,
        instructions=tuple(mapping.instructions),
    )
    return adapter, stats


def _action_terms(
    mapping: ModelMapping, model: ModelFacts, dims: list[int], joint_names: tuple[str, ...]
) -> tuple[Array, Array, Array]:
    """[A] each: robot's value = slope * model's + base + sign * state, as the contract counts it."""
    entries = [mapping.action[i] for i in dims]
    relative = np.asarray([relative_mask(mapping, joint_names)[i] for i in dims])
    wanted = np.asarray([True] * (len(dims) - 1) + [False])  # all but the gripper
    factor = np.asarray([entry.factor for entry in entries])
    base = factor * model.action.offset[dims]
    # An offset of the unit is the same before and after a motion, so it is in no difference.
    base = base + np.where(relative, 0.0, np.asarray([entry.base for entry in entries]))
    return factor * model.action.scale_out[dims], base, relative.astype(np.float64) - wanted.astype(np.float64)


def _state_terms(
    mapping: ModelMapping, model: ModelFacts, proprio: tuple[str, ...]
) -> tuple[NDArray[np.int64], Array, Array]:
    sources, gains, biases = [], [], []
    for number, entry in enumerate(mapping.state):
        scale, offset = model.state.scale_in[number], model.state.offset[number]
        if entry.name is None:
            sources.append(0)
            gains.append(0.0)
            biases.append((float(entry.constant or 0.0) - offset) / scale)
        else:
            sources.append(proprio.index(entry.name))
            gains.append(1.0 / (entry.factor * scale))
            biases.append((-entry.base / entry.factor - offset) / scale)
    return np.asarray(sources, dtype=np.int64), np.asarray(gains), np.asarray(biases)


def _proprio_stats(mapping: ModelMapping, model: ModelFacts, proprio: tuple[str, ...]) -> Stats:
    """Of the contract's proprioception, for the small networks; what the model does not see is left as it is."""
    mean, std = [0.0] * len(proprio), [1.0] * len(proprio)
    for number, entry in enumerate(mapping.state):
        if entry.name is not None:
            at = proprio.index(entry.name)
            mean[at] = float(entry.factor * model.state.offset[number] + entry.base)
            std[at] = max(abs(float(entry.factor * model.state.scale_in[number])), _FLOOR)
    return Stats(tuple(mean), tuple(std))
