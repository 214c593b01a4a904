# SPDX-License-Identifier: Apache-2.0
"""What every policy with learnt weights does alike: build them, try them, let them decide from the next decision on."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from torch import nn

from rl_methods.base import LoadedPolicy, PolicyInput, PolicyOutput, RuntimeConfig, ValidationContext
from rl_methods.common.loading import config_from, load_actor, version_of
from rl_methods.common.weights import PolicySet

Actor = TypeVar("Actor", bound=nn.Module)


class ActorPolicy(Generic[Actor]):
    """A `LearnedPolicy` around one network; it plays the first candidate while there are no weights.

    A set without any tensors means the same: the learner has withdrawn what it sent before.

    Attributes:
        actor_type: Network that acts.
        config_type: Frozen dataclass from which its shapes follow; has `size()`, see `load_actor`.
    """

    actor_type: ClassVar[type[Any]]
    config_type: ClassVar[type[Any]]

    def __init__(self) -> None:
        """Start without weights."""
        self._loaded: LoadedPolicy | None = None

    @property
    def version(self) -> int:
        """Version of the weights that decide, 0 for none."""
        return version_of(self._loaded)

    def prepare(self, weights: PolicySet, context: ValidationContext) -> LoadedPolicy:
        """Build the actor and try it; see `LearnedPolicy`."""
        if not weights.tensors:
            return LoadedPolicy(weights.manifest, None)
        config = config_from(self.config_type, weights)
        self.check(config, context)
        actor: Any = load_actor(self.actor_type, config, weights)
        for policy_input in context.inputs:
            self.try_out(actor, policy_input, context)
        return LoadedPolicy(weights.manifest, actor)

    def install(self, loaded: LoadedPolicy) -> None:
        """One reference changes: a decision reads it once."""
        self._loaded = loaded

    @property
    def deciding(self) -> LoadedPolicy | None:
        """Weights that decide, None while the VLA does."""
        loaded = self._loaded
        return None if loaded is None or loaded.actor is None else loaded

    def act(self, policy_input: PolicyInput, runtime: RuntimeConfig) -> PolicyOutput:
        """What the actor decides, or the first candidate while there is none."""
        loaded = self.deciding
        if loaded is None:
            return PolicyOutput(policy_input.candidates[0], 0)
        return self.decide(loaded.actor, policy_input, runtime, loaded.manifest.version)

    # -- of the method ------------------------------------------------------------------------------------------------

    def check(self, config: Any, context: ValidationContext) -> None:
        """Refuse a configuration that does not fit the robot's contract.

        Raises:
            WeightsError: With what differs.
        """

    def try_out(self, actor: Actor, policy_input: PolicyInput, context: ValidationContext) -> None:
        """Let the actor act on trial.

        Raises:
            WeightsError: Its output is not finite or out of bounds.
        """
        raise NotImplementedError

    def decide(self, actor: Actor, policy_input: PolicyInput, runtime: RuntimeConfig, version: int) -> PolicyOutput:
        """What the arm shall play."""
        raise NotImplementedError
