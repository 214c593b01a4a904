# SPDX-License-Identifier: Apache-2.0
"""Sets of weights as a learner would publish them, and every way in which one can be wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from vla_interfaces.msg import PolicyWeights

from rl_methods.common.architecture import architecture_of, canonical, hash_of
from rl_methods.common.weights import Assembler, PolicyManifest, PolicySet, pack, unpack
from rl_methods.dsrl.actor import DsrlActor, DsrlActorConfig
from rl_methods.expo.actor import ExpoActor, ExpoActorConfig
from vla_policy.nodes.weights_wire import to_manifest
from whetstone_common.core.contract import Contract

Packed = tuple[PolicyManifest, bytes]


def whole_sets(pieces: Iterable[PolicyWeights], contract_hash: str) -> list[PolicySet]:
    """Sets of EXPO that have come whole, each of which a robot would take."""
    assembler, whole = Assembler(1 << 26), []
    for msg in pieces:
        manifest = to_manifest(msg)
        data = assembler.offer(manifest, msg.piece, msg.pieces, bytes(msg.data))
        if data is not None:
            whole.append(unpack(manifest, data, method="expo", contract_hash=contract_hash))
    return whole


def expo_config(contract: Contract, **changes: Any) -> ExpoActorConfig:
    """Small networks that fit a contract; an edit is played whenever there is one."""
    fields: dict[str, Any] = {
        "features": contract.feature_dim, "steps": 8, "action_dim": contract.action_dim, "members": 3, "hidden": (16,),
        "edit_scale": (0.2,), "edit_knots": 2, "edit_hidden": (16,), "margin": -1e9,
    }  # fmt: skip
    return ExpoActorConfig(**fields | changes)


def dsrl_config(contract: Contract, **changes: Any) -> DsrlActorConfig:
    """A small network that fits a contract."""
    fields: dict[str, Any] = {
        "features": contract.feature_dim, "horizon": contract.horizon, "noise_dim": contract.action_dim,
        "knots": 4, "hidden": (16,),
    }  # fmt: skip
    return DsrlActorConfig(**fields | changes)


def fresh(actor: type[nn.Module], config: Any, seed: int = 0) -> dict[str, Tensor]:
    """Weights that do something: the fresh ones, shaken so that edits and noises differ from nothing."""
    torch.manual_seed(seed)
    tensors: dict[str, Tensor] = actor(config).state_dict()
    return {n: t + 0.3 * torch.randn_like(t) if t.is_floating_point() else t for n, t in tensors.items()} | {
        "scaler.std": torch.ones_like(tensors["scaler.std"])
    }


def expo_set(contract: Contract, version: int = 1, *, seed: int = 0, config: Any = None, **changes: Any) -> Packed:
    """A set for `expo`; changes go to `pack`."""
    config = config or expo_config(contract)
    return packed(contract, fresh(ExpoActor, config, seed), config, version=version, **changes)


def dsrl_set(contract: Contract, version: int = 1, *, seed: int = 0, config: Any = None, **changes: Any) -> Packed:
    """A set for `dsrl`; changes go to `pack`."""
    config = config or dsrl_config(contract)
    return packed(contract, fresh(DsrlActor, config, seed), config, version=version, method="dsrl", **changes)


def packed(contract: Contract, tensors: Mapping[str, Tensor], config: Any, **changes: Any) -> Packed:
    """Any tensors under any architecture."""
    architecture = config if isinstance(config, dict) else architecture_of(config)
    fields = {
        "method": "expo", "run": "run", "step": 10, "version": 1, "parent": 0, "contract_hash": contract.hash(),
        "created_ns": 1_000,
    }  # fmt: skip
    return pack(tensors, architecture, **fields | changes)


def disguised(found: Packed, data: bytes) -> Packed:
    """Other bytes under a manifest that fits them."""
    return replace(found[0], sha256=hashlib.sha256(data).hexdigest(), total_bytes=len(data)), data


def wrong_sets(contract: Contract, version: int) -> dict[str, tuple[Packed, str]]:
    """What must be refused after a good set of the version before, by name, each with the reason it is refused for."""
    config = expo_config(contract)
    good = fresh(ExpoActor, config)
    text = canonical(architecture_of(config))

    def made(tensors: Mapping[str, Tensor], settings: Any = config, **changes: Any) -> Packed:
        return packed(contract, tensors, settings, **{"version": version} | changes)

    def other(**changes: Any) -> Packed:
        changed = expo_config(contract, **changes)
        return made(fresh(ExpoActor, changed), changed)

    def one(name: str, value: Tensor) -> Packed:
        data = save(good | {name: value}, metadata={"architecture": text})
        return disguised((replace(made(good)[0], architecture_hash=hash_of(text)), b""), data)

    bias = "edit.body.3.bias"
    nothing = good[bias]
    lacking = {n: t for n, t in good.items() if n != bias}
    huge = {n: torch.full_like(t, 3e38) if n.startswith("critic") else t for n, t in good.items()}
    sets: dict[str, tuple[Packed, str]] = {
        "another architecture": (other(hidden=(8,)), "architecture"),
        "another margin": (other(margin=0.5), "architecture"),
        "a wider edit": (other(edit_scale=(0.3,)), "architecture"),
        "another shape": (one(bias, torch.zeros(3)), "shape"),
        "another type": (one(bias, nothing.half()), "dtype"),
        "a flag as a number": (one("scaler.fitted", torch.zeros(())), "dtype"),
        "a missing tensor": (made(lacking), "shape"),
        "an extra tensor": (made(good | {"more": torch.zeros(1)}), "shape"),
        "a bound of its own": (made(good | {"edit.scale": torch.full((14,), 9.0)}), "shape"),
        "another contract": (made(good, contract_hash="0" * 64), "contract"),
        "another method": (made(good, method="dsrl"), "method"),
        "another run": (made(good, run="another"), "run"),
        "an older version": (made(good, version=version - 2), "old"),
        "an equal version": (made(fresh(ExpoActor, config, 1), version=version - 1), "old"),
        "not a number": (made(good | {bias: torch.full_like(nothing, float("nan"))}), "not_finite"),
        "scores that overflow": (made(huge), "probe"),
    }
    return sets
