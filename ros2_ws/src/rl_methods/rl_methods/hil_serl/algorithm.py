# SPDX-License-Identifier: Apache-2.0
"""HIL-SERL (Luo et al., arXiv 2410.21845): RLPD (arXiv 2302.02948) on demonstrations, corrections and own tries.

No base policy: the actor makes the whole chunk. Two critics, their minimum in the backup, no entropy there; the actor
climbs their mean. Half of a batch comes from the prior data, which every window with a human's steps joins. The
gripper has a critic of its own over close, keep and open. The image encoder learns from the critics' loss alone.

Legend: B batch, Z state, C executed steps, A action dims, d numbers that the actor draws.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl_methods.base import IMAGES, PROPRIO, DataSpec
from rl_methods.common.algorithm import NetworkAlgorithm
from rl_methods.common.batch import Batch, WindowShape
from rl_methods.common.critic import Critic, CriticConfig, polyak
from rl_methods.common.encoder import check_encoder
from rl_methods.common.guard import GradientStep, Guard
from rl_methods.common.image_states import states_of, train_encoder_with
from rl_methods.common.scoring import Reduce
from rl_methods.common.temperature import Temperature
from rl_methods.config import DERIVED, MethodConfig
from rl_methods.hil_serl.actor import GRIPPER, HilSerlActor, HilSerlActorConfig
from rl_methods.hil_serl.gripper import Choice, best, choice_of
from rl_methods.registry import IMAGES as SEES_IMAGES


@dataclass(frozen=True)
class HilSerlConfig:
    """Hyperparameters.

    Attributes:
        features: Of the VLA; read where there is no image encoder.
        proprio: Numbers of proprioception.
        cameras: Of the VLA.
        steps: C.
        action_dim: A.
        gripper_closed: Normalised action that closes the gripper.
        gripper_open: Normalised action that opens it.
        encoder: `images`, or `features` for those of the VLA.
        image_size: Side that images are brought to (px).
        encoder_maps: Feature maps per layer.
        encoder_outputs: Numbers that the encoder gives.
        shift: Largest random shift of an image (px).
        knots: The arm's part of a chunk at so many places, interpolated over the steps; C for all of it.
        bound: Largest action at a knot, normalised units.
        critic: Of both critics.
        hidden: Widths of actor and gripper critic.
        actor_rate: Learning rate of actor, gripper critic and temperature.
        alpha: Initial temperature.
        learn_alpha: Adapt it, to an entropy of -d/2 in units of the bound.
        toggle_penalty: What opening or closing costs the gripper's critic.
        open_above: A measured opening above this is an open gripper.
    """

    features: int = field(metadata=DERIVED)
    proprio: int = field(default=1, metadata=DERIVED)
    cameras: int = field(default=0, metadata=DERIVED)
    steps: int = field(default=8, metadata=DERIVED)
    action_dim: int = field(default=7, metadata=DERIVED)
    gripper_closed: float = field(default=0.0, metadata=DERIVED)
    gripper_open: float = field(default=1.0, metadata=DERIVED)
    encoder: str = "features"
    image_size: int = 48
    encoder_maps: int = 16
    encoder_outputs: int = 64
    shift: int = 3
    knots: int = 2
    bound: float = 2.5
    critic: CriticConfig = field(default_factory=lambda: CriticConfig(members=2), metadata=DERIVED)
    hidden: tuple[int, ...] = (256, 256)
    actor_rate: float = 3e-4
    alpha: float = 0.01
    learn_alpha: bool = True
    toggle_penalty: float = 0.02
    open_above: float = 0.8

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        check_encoder(self.encoder, self.image_size, self.shift)
        for name in ("toggle_penalty", "alpha"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise ValueError(f"{name} is {getattr(self, name)}, must be finite and at least 0")
        if not (math.isfinite(self.actor_rate) and self.actor_rate > 0.0):
            raise ValueError(f"actor_rate is {self.actor_rate}, must be finite and positive")
        self.actor_config()

    def actor_config(self) -> HilSerlActorConfig:
        """The part that acting needs."""
        sees = self.encoder == SEES_IMAGES
        return HilSerlActorConfig(
            features=0 if sees else self.features, proprio=self.proprio, cameras=self.cameras if sees else 0,
            image_size=self.image_size, encoder_maps=self.encoder_maps, encoder_outputs=self.encoder_outputs,
            steps=self.steps, action_dim=self.action_dim, knots=self.knots, bound=self.bound, hidden=self.hidden,
            open_above=self.open_above, gripper_closed=self.gripper_closed, gripper_open=self.gripper_open,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Seen:
    """A batch as the networks see it.

    Attributes:
        state: [B, Z] at the window's start, with the gradient of the encoder.
        next_state: [B, Z] at its end, without.
        opened: bool [B] whether the gripper was open at the start.
        next_opened: bool [B].
    """

    state: Tensor
    next_state: Tensor
    opened: Tensor
    next_opened: Tensor


class HilSerl(NetworkAlgorithm):
    """Critics, actor with eyes, gripper critic, temperature, and their optimisers."""

    settings_type = HilSerlConfig

    def __init__(self, config: HilSerlConfig) -> None:
        """Fresh weights from torch's global seed."""
        self.config, actor = config, config.actor_config()
        self.data_spec = DataSpec(PROPRIO | (IMAGES if actor.cameras else frozenset()), human_in_prior=True)
        self.acting = HilSerlActor(actor)
        self.critic = Critic(config.critic, actor.state, config.steps * actor.arm_dim)
        if actor.cameras:
            train_encoder_with(self.critic, self.acting)
        self.gripper_target = copy.deepcopy(self.acting.gripper).requires_grad_(requires_grad=False)
        rate = config.actor_rate
        self.actor_optimizer = torch.optim.Adam(self.acting.arm.parameters(), lr=rate, fused=True)
        self.gripper_optimizer = torch.optim.Adam(self.acting.gripper.parameters(), lr=rate, fused=True)
        self.temperature = Temperature(config.alpha, -actor.knot_dim / 2.0, rate, learn=config.learn_alpha)
        self.guard, self.updates = Guard(), 0

    @classmethod
    def build(cls, config: MethodConfig, shape: WindowShape) -> HilSerl:
        """Fresh networks for windows of a shape; see `Algorithm`."""
        sizes = ("features", "proprio", "cameras", "steps", "action_dim", "gripper_closed", "gripper_open")
        return cls(config.settings_of(HilSerlConfig, **{name: getattr(shape, name) for name in sizes}))

    def fit_scaler(self, features: Tensor) -> None:
        """Take the statistics of features [B, F], where they are read."""
        if self.acting.config.features:
            self.acting.scaler.fit(features)

    def fit_proprio(self, proprio: Tensor) -> None:
        """Take the statistics of proprioception [B, P]."""
        self.acting.proprio_scaler.fit(proprio)

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of critics and encoder, actor, gripper critic and temperature; see `Algorithm`."""
        seen = self._seen(batch, generator)
        critic, metrics = self._critic_loss(batch, seen, generator)
        gripper, gripper_metrics = self._gripper_loss(batch, seen)
        actor, actor_metrics = self._actor_losses(seen.state.detach(), generator)
        metrics = self.take([critic, gripper, *actor], metrics | gripper_metrics | actor_metrics, [self.critic])
        polyak(self.gripper_target, self.acting.gripper, self.config.critic.polyak)
        return metrics

    def _seen(self, batch: Batch, generator: torch.Generator) -> _Seen:
        shift = self.config.shift if self.acting.config.cameras else None
        state, next_state = states_of(self.acting, batch, generator, shift)
        return _Seen(state, next_state, self.acting.opened(batch.proprio), self.acting.opened(batch.next_proprio))

    def _critic_loss(
        self, batch: Batch, seen: _Seen, generator: torch.Generator
    ) -> tuple[GradientStep, dict[str, float]]:
        with torch.no_grad():
            knots = self.acting.arm(seen.next_state).sample(generator)[0]
            chunks = self.acting.arm.expand(knots).flatten(1)[:, None]
            after = self.critic.score(seen.next_state, chunks, Reduce.MINIMUM, generator)[:, 0]
            target = batch.reward + batch.discount * batch.mask * after
        executed = batch.actions[..., :GRIPPER].flatten(1)
        loss = self.critic.loss(seen.state, executed, target, batch.valid)
        metrics = {"critic/loss": float(loss.detach()), "critic/target": float(target.mean())}
        return GradientStep("critic", self.critic.optimizer, loss), metrics

    def _gripper_loss(self, batch: Batch, seen: _Seen) -> tuple[GradientStep, dict[str, float]]:
        """Double DQN: the online critic chooses at the window's end, the target critic values it."""
        config = self.acting.config
        last = batch.actions[:, -1, GRIPPER]
        command = (last - config.gripper_closed) / (config.gripper_open - config.gripper_closed)
        choice = choice_of(command, seen.opened)
        toggled = (choice != Choice.KEEP).float()
        with torch.no_grad():
            following = best(self.acting.gripper(seen.next_state), seen.next_opened)
            after = self.gripper_target(seen.next_state).gather(1, following[:, None])[:, 0]
            earned = batch.reward - self.config.toggle_penalty * toggled
            target = earned + batch.discount * batch.mask * after
        value = self.acting.gripper(seen.state.detach()).gather(1, choice[:, None])[:, 0]
        error = F.mse_loss(value, target, reduction="none")
        loss = (error * batch.valid).sum() / batch.valid.sum().clamp(min=1.0)
        metrics = {"gripper/loss": float(loss.detach()), "gripper/toggled": float(toggled.mean())}
        return GradientStep("gripper", self.gripper_optimizer, loss), metrics

    def _actor_losses(self, state: Tensor, generator: torch.Generator) -> tuple[list[GradientStep], dict[str, float]]:
        knots, log_prob = self.acting.arm(state).sample(generator)
        chunks = self.acting.arm.expand(knots).flatten(1)[:, None]
        value = self.critic.values(state, chunks).mean(0)[:, 0]
        steps = [GradientStep("actor", self.actor_optimizer, (self.temperature.alpha * log_prob - value).mean())]
        entropy = -log_prob.detach().mean()
        steps += self.temperature.steps(entropy)
        return steps, {"actor/value": float(value.detach().mean()), "actor/entropy": float(entropy)}

    def modules(self) -> dict[str, nn.Module]:
        """Everything with weights, targets included."""
        return {
            "acting": self.acting,
            "critic": self.critic.online,
            "critic_target": self.critic.target,
            "gripper_target": self.gripper_target,
            "temperature": self.temperature,
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Everything with moments."""
        return {
            "critic_optimizer": self.critic.optimizer,
            "actor_optimizer": self.actor_optimizer,
            "gripper_optimizer": self.gripper_optimizer,
            "alpha_optimizer": self.temperature.optimizer,
        }
