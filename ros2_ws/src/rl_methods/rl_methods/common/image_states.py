# SPDX-License-Identifier: Apache-2.0
"""States of a batch for networks with an image encoder of their own, which the critic's loss trains.

Legend: B batch, F features, P proprioception, K cameras, S side of an image, Z state.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from rl_methods.common.batch import Batch
from rl_methods.common.critic import Critic
from rl_methods.common.encoder import ImageEncoder, random_shift


class StateActor(Protocol):
    """An actor that makes states of observations."""

    encoder: ImageEncoder

    def state(self, features: Tensor, proprio: Tensor, images: Tensor) -> Tensor:
        """Z [B, Z] of features [B, F], proprioception [B, P] and images uint8 [B, K, S, S, 3]."""
        ...


def train_encoder_with(critic: Critic, actor: StateActor) -> None:
    """Let the critic's optimiser train the actor's encoder too."""
    critic.optimizer.add_param_group({"params": list(actor.encoder.parameters())})


def states_of(actor: StateActor, batch: Batch, generator: torch.Generator, shift: int | None) -> tuple[Tensor, Tensor]:
    """States [B, Z] at the windows' start, with the encoder's gradient, and at their end, without.

    Args:
        actor: Makes the states.
        batch: Observations at both.
        generator: Of the random shifts.
        shift: Largest random shift of an image (px), None without images.
    """
    images, next_images = (
        each if shift is None else random_shift(each, shift, generator) for each in (batch.images, batch.next_images)
    )
    state = actor.state(batch.features, batch.proprio, images)
    with torch.no_grad():
        next_state = actor.state(batch.next_features, batch.next_proprio, next_images)
    return state, next_state
