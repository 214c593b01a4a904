# SPDX-License-Identifier: Apache-2.0
"""DSRL with noise aliasing: choose the noise that the frozen VLA starts from, learnt from cached pairs.

Q_A values executed chunks; Q_W values noises and is distilled from Q_A on the cached (noise, chunk) pairs of each
decision, so the VLA never runs in an update; the actor climbs Q_W. Backups value the next state by Q_W at the
actor's own noise.

Legend: B batch, N candidates, H horizon, M noise dims, W = H * M, K knots, F features, D flattened chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rl_methods.base import DataSpec
from rl_methods.common.algorithm import FeatureAlgorithm
from rl_methods.common.batch import Batch, WindowShape
from rl_methods.common.critic import Critic, CriticConfig
from rl_methods.common.draws import indices
from rl_methods.common.feature_scaling import feature_scales
from rl_methods.common.guard import GradientStep, Guard
from rl_methods.common.networks import Scaler
from rl_methods.common.scoring import Reduce
from rl_methods.common.targets import backup, with_returns
from rl_methods.common.temperature import Temperature
from rl_methods.config import DERIVED, MethodConfig
from rl_methods.dsrl.actor import DsrlActor, DsrlActorConfig, NoiseActor


@dataclass(frozen=True)
class DsrlConfig:
    """Hyperparameters.

    Attributes:
        features: F.
        chunk_dim: D, of the executed steps.
        horizon: H.
        noise_dim: M.
        knots: K; the actor's noise at K places, interpolated over the horizon. H means all of it, 1 means repeated.
        bound: b, largest noise.
        critic: of both critics.
        actor_hidden: widths.
        actor_rate: learning rate.
        alpha: initial temperature.
        learn_alpha: adapt it.
        target_entropy: nats; 0 as published.
        distil_draws: pairs per decision that Q_W is fitted to in an update.
        state_features: how many of the features, the last ones, are positions and proprioception; as the VLA's
            contract says where a file leaves it out.
        image_feature_scale: deviation of the other features beside those; see `feature_scales`.
    """

    features: int = field(metadata=DERIVED)
    chunk_dim: int = field(default=56, metadata=DERIVED)
    horizon: int = field(default=16, metadata=DERIVED)
    noise_dim: int = field(default=7, metadata=DERIVED)
    knots: int = 16
    bound: float = 1.5
    critic: CriticConfig = field(default_factory=CriticConfig, metadata=DERIVED)
    actor_hidden: tuple[int, ...] = (256, 256)
    actor_rate: float = 3e-4
    alpha: float = 1.0
    learn_alpha: bool = True
    target_entropy: float = 0.0
    distil_draws: int = 1
    state_features: int = 0
    image_feature_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        if self.distil_draws < 1:
            raise ValueError(f"distil_draws is {self.distil_draws}, must be at least 1")
        feature_scales(self.features, self.state_features, self.image_feature_scale)
        self.actor_config()

    def actor_config(self) -> DsrlActorConfig:
        """The part that acting needs."""
        return DsrlActorConfig(
            self.features, self.horizon, self.noise_dim, self.knots, self.bound, self.actor_hidden
        )  # fmt: skip


class Dsrl(FeatureAlgorithm):
    """Both critics, the actor, the temperature, and their optimisers."""

    settings_type = DsrlConfig

    def __init__(self, config: DsrlConfig) -> None:
        """Fresh weights from torch's global seed."""
        self.config = config
        self.data_spec = DataSpec(frozenset({"candidates", "noise"}))
        self.of_action = Critic(config.critic, config.features, config.chunk_dim)
        self.of_noise = Critic(config.critic, config.features, config.horizon * config.noise_dim)
        self.actor = NoiseActor(config.actor_config())
        self.scaler = Scaler(config.features)
        self.acting = DsrlActor(config.actor_config(), self.actor, self.scaler)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=config.actor_rate, fused=True)
        self.temperature = Temperature(config.alpha, config.target_entropy, config.actor_rate, learn=config.learn_alpha)
        self.guard, self.updates = Guard(), 0

    @classmethod
    def build(cls, config: MethodConfig, shape: WindowShape) -> Dsrl:
        """Fresh networks for windows of a shape; see `Algorithm`."""
        chunk_dim = shape.steps * shape.action_dim
        sizes = {"features": shape.features, "horizon": shape.horizon, "noise_dim": shape.noise_dim}
        return cls(config.settings_of(DsrlConfig, chunk_dim=chunk_dim, **sizes))

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of Q_A, Q_W, the actor and the temperature; see `Algorithm`."""
        return self._update(batch, generator, mc_share=0.0)

    def offline_update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """The same with Q_A on Monte-Carlo returns where they are known."""
        return self._update(batch, generator, mc_share=1.0)

    def _update(self, batch: Batch, generator: torch.Generator, mc_share: float) -> dict[str, float]:
        batch = self.scaled(batch)
        first, metrics = self._action_critic_loss(batch, generator, mc_share)
        second, noise_metrics = self._noise_critic_loss(batch, generator)
        actor, actor_metrics = self._actor_losses(batch, generator)
        steps = [first, second, *actor]
        return self.take(steps, metrics | noise_metrics | actor_metrics, [self.of_action, self.of_noise])

    def noise(
        self, features: Tensor, count: int, generator: torch.Generator | None = None, *, explore: bool = False
    ) -> Tensor:
        """Noise [count, H, M] to start from at features [F]: the mode first, samples after it or everywhere."""
        return self.acting.noise(features, count, generator, explore=explore)

    def _action_critic_loss(
        self, batch: Batch, generator: torch.Generator, share: float
    ) -> tuple[GradientStep, dict[str, float]]:
        with torch.no_grad():
            noise = self._actor_noise(batch.next_features, generator)[0]
            after = self.of_noise.score(batch.next_features, noise[:, None], Reduce.SUBSET, generator)[:, 0]
            target = with_returns(batch, backup(batch, after), share)
        loss = self.of_action.loss(batch.features, batch.actions.flatten(1), target, batch.valid)
        metrics = {"critic/loss": float(loss.detach()), "critic/target": float(target.mean())}
        return GradientStep("critic", self.of_action.optimizer, loss), metrics

    def _noise_critic_loss(self, batch: Batch, generator: torch.Generator) -> tuple[GradientStep, dict[str, float]]:
        draws = self.config.distil_draws
        index = indices(batch.noise.shape[1], len(batch) * draws, generator, batch.noise)
        rows = torch.arange(len(batch), device=index.device).repeat(draws)
        noise, chunk = batch.noise[rows, index].flatten(1), batch.candidates[rows, index].flatten(1)
        features = batch.features[rows]
        with torch.no_grad():
            target = self.of_action.values(features, chunk[:, None], target=True).mean(0)[:, 0]
        loss = self.of_noise.loss(features, noise / self.config.bound, target, batch.valid[rows])
        return GradientStep("noise_critic", self.of_noise.optimizer, loss), {"noise_critic/loss": float(loss.detach())}

    def _actor_noise(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Scaled flat noise [B, W] for Q_W, and the log density of the knots."""
        knots, log_prob = self.actor(features).sample(generator)
        return self.actor.expand(knots).flatten(1) / self.config.bound, log_prob

    def _actor_losses(self, batch: Batch, generator: torch.Generator) -> tuple[list[GradientStep], dict[str, float]]:
        noise, log_prob = self._actor_noise(batch.features, generator)
        value = self.of_noise.values(batch.features, noise[:, None]).mean(0)[:, 0]
        steps = [GradientStep("actor", self.actor_optimizer, (self.temperature.alpha * log_prob - value).mean())]
        entropy = -log_prob.detach().mean()
        steps += self.temperature.steps(entropy)
        return steps, {"actor/value": float(value.detach().mean()), "actor/entropy": float(entropy)}

    def modules(self) -> dict[str, nn.Module]:
        """Everything with weights, targets included."""
        return {
            "action": self.of_action.online,
            "action_target": self.of_action.target,
            "noise": self.of_noise.online,
            "noise_target": self.of_noise.target,
            "actor": self.actor,
            "temperature": self.temperature,
            "scaler": self.scaler,
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Everything with moments."""
        return {
            "action_optimizer": self.of_action.optimizer,
            "noise_optimizer": self.of_noise.optimizer,
            "actor_optimizer": self.actor_optimizer,
            "alpha_optimizer": self.temperature.optimizer,
        }
