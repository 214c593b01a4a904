# SPDX-License-Identifier: Apache-2.0
"""Between a vector environment and a policy: what it sees there, and what its chunks mean.

Legend: B environments that are asked, C steps of a chunk, A action dims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rl_methods.common.flow_policy import FlowContext
from vla_policy.core.protocol import FloatArray, Observation
from vla_policy.core.training.expert_flow import ExpertFlow, PrefixBatch


class Embodiment(Protocol):
    """A policy's eyes and hands in a vector environment."""

    def encode(self, observation: Mapping[str, Any], rows: Sequence[int]) -> FlowContext:
        """What the policy sees in some of the environments.

        Args:
            observation: As the vector environment gives it, of all environments.
            rows: Numbers of B of them.
        """
        ...

    def actions(self, chunks: FloatArray) -> FloatArray:
        """Normalised chunks [B, C, A] in the environment's units."""
        ...


class VlaEmbodiment:
    """A VLA in `sim_bridge.core.environment.ChunkEnvironment`s.

    Args:
        flow: The VLA.
    """

    def __init__(self, flow: ExpertFlow) -> None:
        self._flow = flow

    def encode(self, observation: Mapping[str, Any], rows: Sequence[int]) -> PrefixBatch:
        """See `Embodiment.encode`."""
        return self._flow.encode([_observation_of(observation, row) for row in rows])

    def actions(self, chunks: FloatArray) -> FloatArray:
        """See `Embodiment.actions`."""
        return self._flow.backend.spec.denormalise(chunks)


def _observation_of(observation: Mapping[str, Any], row: int) -> Observation:
    images = {name: stack[row] for name, stack in observation["images"].items()}
    return Observation(images, observation["proprio"][row], str(observation["instruction"][row]))
