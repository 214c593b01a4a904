# SPDX-License-Identifier: Apache-2.0
"""EXPO's actor half in steering_node.

Legend: N candidates, H chunk length, A action dims, C executed steps, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rl_methods.base import ChunkSource, PolicyInput, PolicyOutput, RuntimeConfig, ValidationContext
from rl_methods.common.actor_policy import ActorPolicy
from rl_methods.common.loading import check_chunk_fits, check_fits, check_within, images_of, to_generator, to_tensor
from rl_methods.common.residual import bound_over
from rl_methods.common.scoring import Reduce
from rl_methods.common.weights import WeightsError
from rl_methods.expo.actor import ExpoActor, ExpoActorConfig, Rule


class ExpoPolicy(ActorPolicy[ExpoActor]):
    """Best of candidates and edited candidates, by a critic."""

    actor_type, config_type = ExpoActor, ExpoActorConfig

    def check(self, config: ExpoActorConfig, context: ValidationContext) -> None:
        """Sizes are the contract's, edits no larger than this robot allows."""
        check_chunk_fits(config, context, config.edit_scale if config.edit else (0.0,))
        if config.cameras:
            check_fits("cameras", config.cameras, len(context.contract.cameras))
            check_fits("proprio", config.proprio, context.contract.proprio_dim)

    def try_out(self, actor: ExpoActor, policy_input: PolicyInput, _context: ValidationContext) -> None:
        """Every edit inside its bounds, every value finite."""
        _try_expo(actor, policy_input)

    def decide(self, actor: ExpoActor, policy_input: PolicyInput, runtime: RuntimeConfig, version: int) -> PolicyOutput:
        """The arg max."""
        pick = actor.choose(
            _state(actor, policy_input), to_tensor(policy_input.candidates), to_generator(policy_input.generator()),
            rule=_rule(actor.config, runtime), share=runtime.edit_scale, explore=runtime.explore,
        )  # fmt: skip
        return PolicyOutput(
            chunk=pick.chunk.numpy(),
            candidate=pick.candidate,
            source=ChunkSource.EDITED if pick.edited else ChunkSource.BASE,
            value=float(pick.scores[pick.index]),
            scores=pick.scores.numpy(),
            policy_version=version,
        )


def _state(actor: ExpoActor, policy_input: PolicyInput) -> Tensor:
    """[Z] of what the robot sees."""
    images = images_of(policy_input, actor.config.cameras, actor.config.image_size)
    features, proprio = to_tensor(policy_input.features), to_tensor(policy_input.proprio)
    with torch.no_grad():
        return actor.state(features[None], proprio[None], images[None])[0]


def _rule(trained: ExpoActorConfig, runtime: RuntimeConfig) -> Rule:
    """As the method was trained, unless a person says otherwise."""
    return Rule(
        best_of=runtime.n_candidates,
        select=Reduce(runtime.select or trained.select),
        margin=trained.margin if runtime.margin < 0.0 else runtime.margin,
        base_margin=trained.base_margin if runtime.base_margin < 0.0 else runtime.base_margin,
    )


def _try_expo(actor: ExpoActor, policy_input: PolicyInput) -> None:
    """Every candidate, edited with and without noise: chunks inside the bounds, values of all critics finite."""
    config, generator = actor.config, to_generator(policy_input.generator())
    base = to_tensor(policy_input.candidates)[:, : config.steps].flatten(1)  # [N, C * A]
    state = _state(actor, policy_input)
    choices = [base]
    if config.edit:
        bound = bound_over(config.edit_scale, config.steps, config.action_dim)
        for explore in (False, True):
            seen = state.expand(len(base), -1)
            choices.append(base + actor.change(seen, base, generator, share=1.0, explore=explore))
            check_within(choices[-1], base, bound, "chunk")
    values = actor.scoring.values(actor.critic, state[None], torch.cat(choices)[None])
    if not bool(torch.isfinite(values).all()):
        raise WeightsError("probe", "a value on trial is not finite")
