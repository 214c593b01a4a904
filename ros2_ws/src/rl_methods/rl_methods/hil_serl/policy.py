# SPDX-License-Identifier: Apache-2.0
"""HIL-SERL's actor half in steering_node: a chunk of its own, and nothing at all before there are weights.

Legend: H chunk length, A action dims, C executed steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rl_methods.base import ChunkSource, LoadedPolicy, PolicyInput, PolicyOutput, RuntimeConfig, ValidationContext
from rl_methods.common.loading import (
    check_fits,
    check_within,
    config_from,
    images_of,
    load_actor,
    to_generator,
    to_tensor,
    version_of,
)
from rl_methods.common.weights import PolicySet, WeightsError
from rl_methods.hil_serl.actor import HilSerlActor, HilSerlActorConfig
from whetstone_common.core.contract import Contract

_SAME = 1e-4  # of normalised actions


class HilSerlPolicy:
    """Plays what its actor says; the VLA's candidates are not looked at."""

    def __init__(self) -> None:
        """Start without weights."""
        self._loaded: LoadedPolicy | None = None

    @property
    def version(self) -> int:
        """Of the weights that decide, 0 for none."""
        return version_of(self._loaded)

    def prepare(self, weights: PolicySet, context: ValidationContext) -> LoadedPolicy:
        """Builds the actor and tries its chunks; see `LearnedPolicy`."""
        config = config_from(HilSerlActorConfig, weights)
        _check_contract(config, context.contract)
        actor = load_actor(HilSerlActor, config, weights)
        for policy_input in context.inputs:
            for explore in (False, True):
                chunk = _chunk(actor, policy_input, explore=explore)
                check_within(chunk[:, :-1], torch.zeros(()), torch.tensor(config.bound), "chunk")
        return LoadedPolicy(weights.manifest, actor)

    def install(self, loaded: LoadedPolicy) -> None:
        """One reference changes: a decision reads it once."""
        self._loaded = loaded

    def act(self, policy_input: PolicyInput, runtime: RuntimeConfig) -> PolicyOutput:
        """The actor's chunk; its last step is repeated behind the executed ones.

        Raises:
            RuntimeError: There are no weights: the VLA does not play in their place.
        """
        loaded = self._loaded
        if loaded is None:
            raise RuntimeError("hil_serl has no weights yet, and the VLA does not play in their place")
        chunk = _chunk(loaded.actor, policy_input, explore=runtime.explore)
        horizon = policy_input.candidates.shape[1]
        rows = torch.arange(horizon).clamp(max=len(chunk) - 1)
        return PolicyOutput(chunk[rows].numpy(), -1, ChunkSource.ACTOR, policy_version=loaded.manifest.version)


def _chunk(actor: HilSerlActor, policy_input: PolicyInput, *, explore: bool) -> Tensor:
    """[C, A], normalised.

    Raises:
        WeightsError: These weights look at images, and there are none.
    """
    images = images_of(policy_input, actor.config.cameras, actor.config.image_size)
    return actor.chunk(
        to_tensor(policy_input.features), to_tensor(policy_input.proprio), images,
        to_generator(policy_input.generator()), explore=explore,
    )  # fmt: skip


def _check_contract(config: HilSerlActorConfig, contract: Contract) -> None:
    check_fits("features", config.features, 0 if config.cameras else contract.feature_dim)
    check_fits("proprio", config.proprio, contract.proprio_dim)
    check_fits("action_dim", config.action_dim, contract.action_dim)
    if config.cameras:
        check_fits("cameras", config.cameras, len(contract.cameras))
    if config.steps > contract.horizon:
        raise WeightsError("shape", f"steps is {config.steps}, a chunk has {contract.horizon}")
    scale, offset = contract.action_scale[-1], contract.action_offset[-1]
    for name, opening in (("gripper_closed", 0.0), ("gripper_open", 1.0)):
        wanted = (opening - offset) / scale
        if abs(getattr(config, name) - wanted) > _SAME:
            raise WeightsError("shape", f"{name} is {getattr(config, name)}, the contract says {wanted}")
