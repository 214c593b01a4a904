# SPDX-License-Identifier: Apache-2.0
"""What algorithms share whose whole state is modules, optimisers, usual gradient norms and a count of updates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rl_methods.base import Algorithm
from rl_methods.common import tensors as named
from rl_methods.common.architecture import architecture_of
from rl_methods.common.batch import Batch
from rl_methods.common.critic import Critic
from rl_methods.common.feature_scaling import feature_scales
from rl_methods.common.guard import GradientStep, Guard
from rl_methods.common.networks import Scaler


class NetworkAlgorithm(Algorithm):
    """Saves and restores what its modules, optimisers and guard hold.

    Attributes:
        guard: Takes the gradient steps of an update together or not at all.
        acting: What acting needs; its `config` is a frozen dataclass from which the shapes follow.
    """

    guard: Guard
    acting: Any

    def state(self) -> dict[str, Tensor]:
        """Everything that learning changes."""
        own = {"updates": torch.tensor(self.updates)}
        own |= {f"guard/{name}": value for name, value in self.guard.state().items()}
        return own | named.state_of(self.modules(), self.optimizers())

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            CheckpointError: It does not fit this algorithm.
        """
        named.restore(tensors, self.modules(), self.optimizers())
        self.guard.restore(named.part(tensors, "guard"))
        self.updates = int(tensors["updates"])

    def move_to(self, device: torch.device) -> None:
        """Bring all networks to a device, before the first update."""
        for module in (*self.modules().values(), self.acting):
            module.to(device)

    def take(
        self, steps: Sequence[GradientStep], metrics: Mapping[str, float], critics: Sequence[Critic] = ()
    ) -> dict[str, float]:
        """Take the steps of an update, let the targets of `critics` follow, and count it.

        Returns:
            The metrics, with the gradient norm of each part.

        Raises:
            DivergenceError: No step was taken, and nothing has changed.
        """
        norms = self.guard.take(steps)
        for critic in critics:
            critic.follow()
        self.updates += 1
        return {**metrics, **{f"{name}/norm": norm for name, norm in norms.items()}}

    def architecture(self) -> dict[str, Any]:
        """The fields of the acting part's configuration, as JSON can hold them."""
        return architecture_of(self.acting.config)

    def policy_weights(self) -> dict[str, Tensor]:
        """A copy of what acting needs, as the actor half names it."""
        return copies_on_cpu(self.acting)

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """Everything with weights, targets included."""


class FeatureAlgorithm(NetworkAlgorithm):
    """One whose networks read the VLA's features.

    Attributes:
        config: Settings, with `features`, `state_features` and `image_feature_scale`; see `feature_scales`.
        scaler: Of the features.
    """

    config: Any
    scaler: Scaler

    def fit_scaler(self, features: Tensor) -> None:
        """Take the statistics of features [B, F] once, before the first update."""
        config = self.config
        self.scaler.fit(features, feature_scales(config.features, config.state_features, config.image_feature_scale))

    def scaled(self, batch: Batch) -> Batch:
        """The batch with scaled features."""
        return replace(batch, features=self.scaler(batch.features), next_features=self.scaler(batch.next_features))


def copies_on_cpu(module: nn.Module) -> dict[str, Tensor]:
    """Copies of a module's tensors, by name: what is published and stored is on the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in module.state_dict().items()}
