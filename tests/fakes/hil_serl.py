# SPDX-License-Identifier: Apache-2.0
"""Small HIL-SERL: settings, random batches, and sets of weights that fit a contract."""

from __future__ import annotations

from typing import Any

import torch

from fakes.policy_sets import Packed, packed
from rl_methods.common.batch import Batch
from rl_methods.common.critic import CriticConfig
from rl_methods.hil_serl.actor import HilSerlActor, HilSerlActorConfig
from rl_methods.hil_serl.algorithm import HilSerl, HilSerlConfig
from whetstone_common.core.contract import Contract

BLOCKS: dict[str, dict[str, Any]] = {
    "hil_serl": {
        "encoder": "images", "image_size": 16, "encoder_maps": 4, "encoder_outputs": 8, "shift": 1, "knots": 2,
        "hidden": [16],
    },
    "critic": {"members": 2, "hidden": [16]},
    "schedule": {
        "base_episodes": 0, "warm_up_updates": 3, "updates_per_step": 0.5, "batch": 8, "most_steps": 1000,
        "discount": 0.9, "execute_steps": 4,
    },
}  # fmt: skip


def config(**changes: Any) -> HilSerlConfig:
    """Two steps of an arm of two numbers and a gripper, one camera of 16 px."""
    fields: dict[str, Any] = {
        "features": 6, "proprio": 4, "cameras": 1, "steps": 2, "action_dim": 3, "encoder": "images", "image_size": 16,
        "encoder_maps": 4, "encoder_outputs": 8, "shift": 1, "knots": 2, "hidden": (16,), "bound": 1.0,
        "critic": CriticConfig(members=2, hidden=(16,), bounded=False),
    }  # fmt: skip
    return HilSerlConfig(**fields | changes)


def learner(seed: int = 0, **changes: Any) -> HilSerl:
    """A fresh learner."""
    torch.manual_seed(seed)
    return HilSerl(config(**changes))


def batch(size: int = 8, seed: int = 0, **changes: Any) -> Batch:
    """Random rows that fit `config`; the gripper is open where the last proprioception is 1."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(size, *shape, generator=random)

    def pictures() -> torch.Tensor:
        return torch.randint(0, 256, (size, 1, 16, 16, 3), generator=random, dtype=torch.uint8)

    def felt() -> torch.Tensor:
        opening = torch.randint(0, 2, (size, 1), generator=random).float()
        return torch.cat([draw(3), opening], -1)

    actions = torch.cat([draw(2, 2), torch.randint(0, 2, (size, 1, 1), generator=random).float().expand(-1, 2, 1)], -1)
    empty, ones = torch.zeros(size, 0), torch.ones(size)
    fields: dict[str, torch.Tensor] = {
        "features": draw(6), "actions": actions, "candidates": empty, "noise": empty, "reward": draw(), "mask": ones,
        "discount": 0.9 * ones, "valid": ones, "mc_return": ones, "success": ones, "human": ones, "refused": 0 * ones,
        "proposed": actions, "next_features": draw(6), "next_candidates": empty, "proprio": felt(),
        "next_proprio": felt(), "images": pictures(), "next_images": pictures(),
    }  # fmt: skip
    return Batch(**fields | changes)


def actor_config(contract: Contract, **changes: Any) -> HilSerlActorConfig:
    """A small actor that fits a contract."""
    scale, offset = contract.action_scale[-1], contract.action_offset[-1]
    fields: dict[str, Any] = {
        "features": 0, "proprio": contract.proprio_dim, "cameras": len(contract.cameras), "image_size": 16,
        "encoder_maps": 4, "encoder_outputs": 8, "steps": 4, "action_dim": contract.action_dim, "hidden": (16,),
        "gripper_closed": -offset / scale, "gripper_open": (1.0 - offset) / scale,
    }  # fmt: skip
    return HilSerlActorConfig(**fields | changes)


def actor_set(contract: Contract, version: int = 1, *, seed: int = 0, **changes: Any) -> Packed:
    """A set for `hil_serl`; changes go to its configuration."""
    torch.manual_seed(seed)
    chosen = actor_config(contract, **changes)
    tensors = HilSerlActor(chosen).state_dict()
    shaken = {n: t + 0.1 * torch.randn_like(t) if t.is_floating_point() else t for n, t in tensors.items()}
    steady = {n: t for n, t in tensors.items() if "scaler" in n}
    return packed(contract, shaken | steady, chosen, version=version, method="hil_serl")
