# SPDX-License-Identifier: Apache-2.0
"""Actor half of a method: steering_node asks it at each decision.

Legend: N candidates, H chunk length, D noise dims, F feature dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rl_methods.base.arrays import FloatArray
from rl_methods.base.decision import PolicyInput, PolicyOutput, RuntimeConfig
from whetstone_common.core.contract import Contract

if TYPE_CHECKING:  # the plain policy needs no torch
    from rl_methods.common.weights import PolicyManifest, PolicySet


class Policy(Protocol):
    """Actor half of a method that chooses among what the VLA proposes, or changes it."""

    def act(self, policy_input: PolicyInput, config: RuntimeConfig) -> PolicyOutput:
        """Pick, edit or make the chunk that the arm shall play. Must not change the input's arrays."""
        ...


@runtime_checkable
class NoisePolicy(Protocol):
    """What a policy has besides when it also chooses the noise that the VLA starts from."""

    def noise(
        self, features: FloatArray, shape: tuple[int, int, int], seed: int, sequence: int, config: RuntimeConfig
    ) -> FloatArray:
        """Starting noise, float32 of `shape` [N, H, D], determined by (seed, sequence)."""
        ...


@dataclass(frozen=True, eq=False)
class ValidationContext:
    """What new weights are tried on before they may decide.

    Attributes:
        contract: Of the VLA.
        inputs: Fixed ones, and the last real one.
        edit_limit: Largest edit of any step that this robot allows, normalised units.
    """

    contract: Contract
    inputs: Sequence[PolicyInput]
    edit_limit: float


@dataclass(frozen=True, eq=False)
class LoadedPolicy:
    """Weights that passed validation: what a policy needs to play them.

    Attributes:
        manifest: What was said of them.
        actor: The method's own; None where the VLA decides, since the weights before were withdrawn.
    """

    manifest: PolicyManifest
    actor: Any


@runtime_checkable
class LearnedPolicy(Protocol):
    """What a policy has besides when a learner sends it weights. Without any it plays the first candidate."""

    @property
    def version(self) -> int:
        """Version of the weights that decide, 0 for none."""
        ...

    def prepare(self, weights: PolicySet, context: ValidationContext) -> LoadedPolicy:
        """Build and try what would decide; runs in another thread, and leaves no trace in the policy.

        Raises:
            WeightsError: They do not fit, or misbehave on trial.
        """
        ...

    def install(self, loaded: LoadedPolicy) -> None:
        """Let them decide from the next decision on; one that is being made is not touched."""
        ...
