# SPDX-License-Identifier: Apache-2.0
"""RLT's actor half in steering_node.

Legend: H chunk length, A action dims, C executed steps, F features.
"""

from __future__ import annotations

import torch

from rl_methods.base import ChunkSource, PolicyInput, PolicyOutput, RuntimeConfig, ValidationContext
from rl_methods.common.actor_policy import ActorPolicy
from rl_methods.common.loading import check_chunk_fits, check_within, to_generator, to_tensor
from rl_methods.common.residual import bound_over
from rl_methods.rlt.actor import RltActor, RltActorConfig


class RltPolicy(ActorPolicy[RltActor]):
    """The small actor's chunk in the critical phase, the VLA's first candidate outside it."""

    actor_type, config_type = RltActor, RltActorConfig

    def check(self, config: RltActorConfig, context: ValidationContext) -> None:
        """Sizes are the contract's, the bound no larger than this robot allows."""
        check_chunk_fits(config, context, config.bound)

    def try_out(self, actor: RltActor, policy_input: PolicyInput, _context: ValidationContext) -> None:
        """Chunks with and without noise: finite, and inside the bound around the reference."""
        config, generator = actor.config, to_generator(policy_input.generator())
        bound, features = bound_over(config.bound, 1, config.action_dim), to_tensor(policy_input.features)
        for candidate in to_tensor(policy_input.candidates):
            # what is clipped into the bound is finite, whatever it was before
            mean = actor.policy(actor.scaler(features), candidate[: config.steps].flatten())
            check_within(mean, mean, torch.zeros(()), "chunk before clipping")
            for explore in (False, True):
                chunk = actor.choose(features, candidate, generator, explore=explore)
                check_within(chunk, candidate, bound, "chunk")

    def decide(self, actor: RltActor, policy_input: PolicyInput, runtime: RuntimeConfig, version: int) -> PolicyOutput:
        """The actor's chunk in the critical phase."""
        if not policy_input.critical_phase or runtime.edit_scale <= 0.0:
            return PolicyOutput(policy_input.candidates[0], 0)
        chunk = actor.choose(
            to_tensor(policy_input.features), to_tensor(policy_input.candidates[0]),
            to_generator(policy_input.generator()), share=runtime.edit_scale, explore=runtime.explore,
        )  # fmt: skip
        return PolicyOutput(chunk.numpy(), 0, ChunkSource.ACTOR, policy_version=version)
