# SPDX-License-Identifier: Apache-2.0
"""From a set of weights to an actor that may decide: configuration, shapes, types, and outputs on trial.

Every refusal is a `WeightsError` with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rl_methods.base import FloatArray, LoadedPolicy, PolicyInput, ValidationContext
from rl_methods.common.architecture import Config, config_of
from rl_methods.common.weights import PolicySet, WeightsError
from whetstone_common.core.pixels import squared

_ROUNDING = 1e-5


class ActorConfig(Protocol):
    """Configuration of an actor."""

    def size(self) -> int:
        """Numbers in all weight matrices; what a file of weights has to hold at least."""
        ...


def version_of(loaded: LoadedPolicy | None) -> int:
    """Version of the weights that decide, 0 for none."""
    return 0 if loaded is None else loaded.manifest.version


def config_from(kind: type[Config], weights: PolicySet) -> Config:
    """Configuration that a set of weights announces."""
    try:
        return config_of(kind, weights.architecture)
    except ValueError as error:
        raise WeightsError("architecture", str(error)) from error


def check_fits(name: str, found: int, expected: int) -> None:
    """Refuse a size that is not the contract's."""
    if found != expected:
        raise WeightsError("shape", f"{name} is {found}, the contract says {expected}")


class ChunkConfig(Protocol):
    """Configuration of an actor that changes the first steps of a chunk."""

    @property
    def features(self) -> int:
        """F."""
        ...

    @property
    def steps(self) -> int:
        """C."""
        ...

    @property
    def action_dim(self) -> int:
        """A."""
        ...


def check_chunk_fits(config: ChunkConfig, context: ValidationContext, bound: Sequence[float]) -> None:
    """Refuse an actor of other sizes than the contract's, or whose changes are wider than this robot allows."""
    contract = context.contract
    check_fits("features", config.features, contract.feature_dim)
    check_fits("action_dim", config.action_dim, contract.action_dim)
    if config.steps > contract.horizon:
        raise WeightsError("shape", f"steps is {config.steps}, a chunk has {contract.horizon}")
    if max(bound) > context.edit_limit:
        raise WeightsError("probe", f"edits up to {max(bound)}, allowed: {context.edit_limit}")


def load_actor(kind: type[nn.Module], config: ActorConfig, weights: PolicySet) -> nn.Module:
    """Actor with those weights. What came bounds what is allocated, whatever the architecture announces."""
    came = sum(tensor.numel() for tensor in weights.tensors.values())
    if config.size() > came:
        raise WeightsError("shape", f"{came} numbers came, the architecture has at least {config.size()}")
    actor = kind(config)
    _check_fit(weights.tensors, actor.state_dict())
    actor.load_state_dict(dict(weights.tensors), assign=True)
    return actor.eval().requires_grad_(requires_grad=False)


def _check_fit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """The same names, shapes and types; that the numbers are finite was seen when they were unpacked."""
    if odd := sorted(set(found) ^ set(expected)):
        raise WeightsError("shape", f"{len(odd)} tensors are missing or unknown, first {odd[0]!r}")
    for name, tensor in found.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape:
            raise WeightsError("shape", f"{name!r} has shape {tuple(tensor.shape)}, expected {tuple(wanted.shape)}")
        if tensor.dtype != wanted.dtype:
            raise WeightsError("dtype", f"{name!r} is {tensor.dtype}, expected {wanted.dtype}")


def check_within(found: Tensor, base: Tensor, bound: Tensor, what: str) -> None:
    """Refuse what is not finite or further than `bound` from `base`."""
    if not bool(torch.isfinite(found).all()):
        raise WeightsError("probe", f"a {what} on trial is not finite")
    excess = (found - base).abs() - bound
    if float(excess.max()) > _ROUNDING * (1.0 + float(base.abs().max())):
        raise WeightsError("probe", f"a {what} on trial is {float(excess.max()):.3g} beyond its bound")


def to_tensor(values: FloatArray) -> Tensor:
    """The same numbers."""
    return torch.from_numpy(np.ascontiguousarray(values))


def images_of(policy_input: PolicyInput, cameras: int, size: int) -> Tensor:
    """uint8 [K, S, S, 3] for an encoder of so many cameras; [0] where it has none.

    Raises:
        WeightsError: These weights look at images, and there are none.
    """
    if not cameras:
        return torch.zeros(0, dtype=torch.uint8)
    if not policy_input.images.size:
        raise WeightsError("shape", "these weights look at images, and steering_node's encoder says features")
    return torch.from_numpy(squared(policy_input.images, size))


def to_generator(chance: np.random.Generator) -> torch.Generator:
    """Torch generator that a NumPy one determines."""
    return torch.Generator().manual_seed(int(chance.integers(2**63 - 1)))
