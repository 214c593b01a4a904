# SPDX-License-Identifier: Apache-2.0
"""HIL-SERL's actor half: eyes, a squashed Gaussian over the arm's part of a chunk, values of three gripper choices.

Legend: B batch, F features of the VLA, P proprioception, K cameras, S side of an image, Z state, C executed steps,
A action dims (the last is the gripper), H horizon, k knots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rl_methods.common.encoder import EncoderConfig, ImageEncoder
from rl_methods.common.networks import MAX_LAYERS, ScaledTanhNormal, Scaler, mlp, mlp_size
from rl_methods.hil_serl.gripper import Choice, best, is_open, opens

GRIPPER = -1  # of the actions, and of the proprioception


@dataclass(frozen=True)
class HilSerlActorConfig:
    """Everything that the shapes of the weights and the meaning of their outputs follow from.

    Attributes:
        features: F that are read, 0 with an image encoder.
        proprio: P.
        cameras: K, 0 without an image encoder.
        image_size: S (px).
        encoder_maps: Feature maps per layer.
        encoder_outputs: Numbers that the encoder gives.
        steps: C.
        action_dim: A.
        knots: k; a chunk is a way from where the hand is over k places, the last of them at step C. C means all of it.
        bound: Largest action at a knot, normalised units.
        hidden: Widths of actor and gripper critic.
        open_above: A measured opening above this is an open gripper.
        gripper_closed: Normalised action that closes the gripper.
        gripper_open: Normalised action that opens it.
    """

    features: int
    proprio: int
    cameras: int = 0
    image_size: int = 48
    encoder_maps: int = 16
    encoder_outputs: int = 64
    steps: int = 8
    action_dim: int = 7
    knots: int = 2
    bound: float = 2.5
    hidden: tuple[int, ...] = (256, 256)
    open_above: float = 0.8
    gripper_closed: float = 0.0
    gripper_open: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        for name, least in (("features", 0), ("proprio", 1), ("steps", 1), ("action_dim", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")
        if not 1 <= len(self.hidden) <= MAX_LAYERS or min(self.hidden) < 1:
            raise ValueError(f"hidden is {self.hidden[:MAX_LAYERS]}, needs 1..{MAX_LAYERS} positive widths")
        if not 1 <= self.knots <= self.steps:
            raise ValueError(f"knots is {self.knots}, allowed: 1..{self.steps}, the executed steps")
        if not (math.isfinite(self.bound) and self.bound > 0.0):
            raise ValueError(f"bound is {self.bound}, must be finite and positive")
        if not 0.0 < self.open_above < 1.0:
            raise ValueError(f"open_above is {self.open_above}, allowed: between 0 and 1")
        if not math.isfinite(self.gripper_closed) or not self.gripper_closed < self.gripper_open < math.inf:
            raise ValueError(f"gripper_open is {self.gripper_open}, must be above gripper_closed {self.gripper_closed}")
        self.encoder()

    def encoder(self) -> EncoderConfig:
        """Of the eyes."""
        return EncoderConfig(self.cameras, self.image_size, self.encoder_maps, self.encoder_outputs)

    @property
    def state(self) -> int:
        """Z."""
        return self.features + self.proprio + (self.encoder_outputs if self.cameras else 0)

    @property
    def arm_dim(self) -> int:
        """Dims of one step without the gripper."""
        return self.action_dim - 1

    @property
    def knot_dim(self) -> int:
        """d, numbers that the actor draws."""
        return self.knots * self.arm_dim

    def size(self) -> int:
        """Numbers in all weight matrices; what a file of weights has to hold at least."""
        heads = mlp_size(self.state, self.hidden, 2 * self.knot_dim) + mlp_size(self.state, self.hidden, len(Choice))
        return self.encoder().size() + heads


def way_over(knots: int, steps: int) -> Tensor:
    """[steps, knots] interpolation from 0 before the first step to the last knot at the last step.

    A chunk begins where the hand is: a first step as long as the bound would be more than the arm's limits allow.
    """
    place = torch.arange(1, steps + 1) * knots / steps
    return (1.0 - (place[:, None] - torch.arange(1, knots + 1)[None, :]).abs()).clamp(min=0.0)


class ArmActor(nn.Module):
    """State [..., Z] -> distribution over d numbers in -1..1; `expand` makes the arm's part of a chunk of them."""

    scale: Tensor
    basis: Tensor

    def __init__(self, config: HilSerlActorConfig) -> None:
        """Starts near zero mean and unit deviation of what is squashed."""
        super().__init__()
        self.config = config
        self.body = mlp(config.state, config.hidden, 2 * config.knot_dim)
        with torch.no_grad():
            self.body[-1].weight.mul_(0.01)
            self.body[-1].bias.zero_()
        # follow from the configuration, never from a file of weights
        self.register_buffer("scale", torch.ones(config.knot_dim), persistent=False)
        self.register_buffer("basis", way_over(config.knots, config.steps), persistent=False)

    def forward(self, state: Tensor) -> ScaledTanhNormal:
        """Distribution of the knots, in units of the bound."""
        mean, log_std = self.body(state).chunk(2, dim=-1)
        return ScaledTanhNormal(mean, log_std, self.scale)

    def expand(self, knots: Tensor) -> Tensor:
        """[..., d] in -1..1 -> [..., C, A - 1] normalised actions."""
        shaped = knots.unflatten(-1, (self.config.knots, self.config.arm_dim))
        return self.config.bound * torch.einsum("ck,...ka->...ca", self.basis, shaped)


class HilSerlActor(nn.Module):
    """What acting needs; the learner trains this very code."""

    def __init__(self, config: HilSerlActorConfig) -> None:
        """Fresh weights from torch's global seed."""
        super().__init__()
        self.config = config
        self.encoder = ImageEncoder(config.encoder())
        self.scaler, self.proprio_scaler = Scaler(config.features), Scaler(config.proprio)
        self.arm = ArmActor(config)
        self.gripper = mlp(config.state, config.hidden, len(Choice))

    def state(self, features: Tensor, proprio: Tensor, images: Tensor) -> Tensor:
        """Z of what is seen: features [B, F] and more that is left aside, proprio [B, P], images [B, K, S, S, 3]."""
        parts = [self.scaler(features[:, : self.config.features]), self.proprio_scaler(proprio)]
        if self.config.cameras:
            parts.append(self.encoder(images))
        return torch.cat(parts, -1)

    def opened(self, proprio: Tensor) -> Tensor:
        """Bool [B] of proprioception [B, P] in physical units."""
        return is_open(proprio[:, GRIPPER], self.config.open_above)

    @torch.no_grad()
    def chunk(
        self, features: Tensor, proprio: Tensor, images: Tensor, generator: torch.Generator | None, *, explore: bool
    ) -> Tensor:
        """Chunk [C, A], normalised, at features [F], proprio [P], images [K, S, S, 3].

        Args:
            features: As the VLA gives them.
            proprio: Physical units.
            images: uint8, [0] without an encoder.
            generator: Of the sample.
            explore: Sample the arm's part instead of playing its mode; the gripper's choice is always the best.
        """
        state = self.state(features[None], proprio[None], images[None])
        policy: ScaledTanhNormal = self.arm(state)
        knots = policy.sample(generator)[0] if explore else policy.mode()
        opened = self.opened(proprio[None])
        wanted = opens(best(self.gripper(state), opened), opened)
        command = torch.where(wanted, self.config.gripper_open, self.config.gripper_closed)
        return torch.cat([self.arm.expand(knots)[0], command.expand(self.config.steps, 1)], -1)
