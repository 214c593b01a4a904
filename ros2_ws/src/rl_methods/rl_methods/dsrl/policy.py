# SPDX-License-Identifier: Apache-2.0
"""DSRL's actor half in steering_node.

Legend: N candidates, H chunk length, A action dims, F features.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from rl_methods.base import (
    ChunkSource,
    FloatArray,
    PolicyInput,
    PolicyOutput,
    RuntimeConfig,
    ValidationContext,
)
from rl_methods.common.actor_policy import ActorPolicy
from rl_methods.common.loading import check_fits, check_within, to_generator, to_tensor, version_of
from rl_methods.common.noise import gaussian
from rl_methods.dsrl.actor import DsrlActor, DsrlActorConfig

_REQUESTS = 16  # draws of noise that are remembered until their proposal comes


class DsrlPolicy(ActorPolicy[DsrlActor]):
    """The first candidate, from noise that a policy chose."""

    actor_type, config_type = DsrlActor, DsrlActorConfig

    def __init__(self) -> None:
        """Start without weights: the VLA's own noise."""
        super().__init__()
        self._drawn: OrderedDict[tuple[int, int], int] = OrderedDict()  # (seed, sequence) -> version

    def check(self, config: DsrlActorConfig, context: ValidationContext) -> None:
        """Sizes are the contract's."""
        contract = context.contract
        check_fits("features", config.features, contract.feature_dim)
        check_fits("noise_dim", config.noise_dim, contract.action_dim)
        check_fits("horizon", config.horizon, contract.horizon)

    def try_out(self, actor: DsrlActor, policy_input: PolicyInput, _context: ValidationContext) -> None:
        """Noise inside its bound, with and without exploration."""
        features = to_tensor(policy_input.features)
        for explore in (False, True):
            noise = actor.noise(features, 4, to_generator(policy_input.generator()), explore=explore)
            check_within(noise, torch.zeros(()), torch.tensor(actor.largest()), "noise")

    def noise(
        self, features: FloatArray, shape: tuple[int, int, int], seed: int, sequence: int, runtime: RuntimeConfig
    ) -> FloatArray:
        """The policy's noise, or what the VLA would have drawn while there is no policy."""
        loaded = self.deciding
        self._drawn[seed, sequence] = version_of(loaded)
        while len(self._drawn) > _REQUESTS:
            self._drawn.popitem(last=False)
        if loaded is None:
            return gaussian(shape, seed, sequence)
        generator = to_generator(np.random.default_rng([seed, sequence, 1]))
        drawn: Tensor = loaded.actor.noise(to_tensor(features), shape[0], generator, explore=runtime.explore)
        return drawn.numpy()

    def act(self, policy_input: PolicyInput, _config: RuntimeConfig) -> PolicyOutput:
        """The first candidate, said to be of the version that drew its noise."""
        version = self._drawn.get((policy_input.seed, policy_input.sequence), 0) if policy_input.noise_steered else 0
        source = ChunkSource.NOISE_STEERED if version else ChunkSource.BASE
        return PolicyOutput(policy_input.candidates[0], 0, source, policy_version=version)
