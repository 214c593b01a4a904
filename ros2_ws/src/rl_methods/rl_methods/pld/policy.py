# SPDX-License-Identifier: Apache-2.0
"""PLD's actor half in steering_node.

Legend: H chunk length, A action dims, C executed steps, F features.
"""

from __future__ import annotations

from rl_methods.base import ChunkSource, PolicyInput, PolicyOutput, RuntimeConfig, ValidationContext
from rl_methods.common.actor_policy import ActorPolicy
from rl_methods.common.loading import check_chunk_fits, check_within, to_generator, to_tensor
from rl_methods.common.residual import bound_over
from rl_methods.pld.actor import PldActor, PldActorConfig


class PldPolicy(ActorPolicy[PldActor]):
    """The first candidate and a residual; while exploring, each episode begins with a part that the VLA plays alone."""

    actor_type, config_type = PldActor, PldActorConfig

    def check(self, config: PldActorConfig, context: ValidationContext) -> None:
        """Sizes are the contract's, the bound no larger than this robot allows."""
        check_chunk_fits(config, context, config.xi)

    def try_out(self, actor: PldActor, policy_input: PolicyInput, _context: ValidationContext) -> None:
        """Chunks with and without noise: finite, and inside the bound around the base."""
        config, generator = actor.config, to_generator(policy_input.generator())
        bound = bound_over(config.xi, 1, config.action_dim)
        for candidate in to_tensor(policy_input.candidates):
            for explore in (False, True):
                chunk = actor.choose(to_tensor(policy_input.features), candidate, generator, explore=explore)
                check_within(chunk, candidate, bound, "chunk")

    def decide(self, actor: PldActor, policy_input: PolicyInput, runtime: RuntimeConfig, version: int) -> PolicyOutput:
        """Base and residual, after the hand-over."""
        if _is_before_hand_over(actor.config, policy_input, runtime) or runtime.edit_scale <= 0.0:
            return PolicyOutput(policy_input.candidates[0], 0)
        chunk = actor.choose(
            to_tensor(policy_input.features), to_tensor(policy_input.candidates[0]),
            to_generator(policy_input.generator()), share=runtime.edit_scale, explore=runtime.explore,
        )  # fmt: skip
        return PolicyOutput(chunk.numpy(), 0, ChunkSource.EDITED, policy_version=version)


def _is_before_hand_over(config: PldActorConfig, policy_input: PolicyInput, runtime: RuntimeConfig) -> bool:
    return runtime.explore and policy_input.episode_step < config.hand_over(policy_input.seed)
