# SPDX-License-Identifier: Apache-2.0
"""DSRL with noise aliasing: choose the noise that the frozen VLA starts from, learnt from cached pairs.

Q_A values executed chunks; Q_W values noises and is distilled from Q_A on the cached (noise, chunk) pairs of each
decision, so the VLA never runs in an update; the actor climbs Q_W. Backups value the next state by Q_W at the
actor's own noise.

Legend: B batch, N candidates, H horizon, M noise dims, W = H * M, K knots, F features, D flattened chunk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from rl_learner.core.critic import Critic, CriticConfig
from rl_learner.core.guard import Guard, Wish
from rl_learner.core.replay import Batch
from rl_learner.core.resumable import Resumable
from rl_learner.core.weighing import weights_of
from vla_policy.core.steering.architecture import architecture_of
from vla_policy.core.steering.dsrl import DsrlActor, DsrlActorConfig, NoiseActor
from vla_policy.core.steering.networks import Scaler
from vla_policy.core.steering.scoring import Reduce


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
        compact: how many of the features, the last ones, are compact: positions and proprioception.
        view_weight: of the other features beside those, after both were brought to unit deviation; see `weights_of`.
    """

    features: int
    chunk_dim: int = 56
    horizon: int = 16
    noise_dim: int = 7
    knots: int = 16
    bound: float = 1.5
    critic: CriticConfig = field(default_factory=CriticConfig)
    actor_hidden: tuple[int, ...] = (256, 256)
    actor_rate: float = 3e-4
    alpha: float = 1.0
    learn_alpha: bool = True
    target_entropy: float = 0.0
    distil_draws: int = 1
    compact: int = 0
    view_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        if self.distil_draws < 1:
            raise ValueError(f"distil_draws is {self.distil_draws}, must be at least 1")
        weights_of(self.features, self.compact, self.view_weight)
        self.actor_config()

    def actor_config(self) -> DsrlActorConfig:
        """The part that acting needs."""
        return DsrlActorConfig(
            self.features, self.horizon, self.noise_dim, self.knots, self.bound, self.actor_hidden
        )  # fmt: skip


class Dsrl(Resumable):
    """Both critics, the actor, the temperature, and their optimisers."""

    def __init__(self, config: DsrlConfig) -> None:
        """Fresh weights from torch's global seed."""
        self.config = config
        self.of_action = Critic(config.critic, config.features, config.chunk_dim)
        self.of_noise = Critic(config.critic, config.features, config.horizon * config.noise_dim)
        self.actor = NoiseActor(config.actor_config())
        self.scaler = Scaler(config.features)
        self.acting = DsrlActor(config.actor_config(), self.actor, self.scaler)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(max(config.alpha, 1e-8))))
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=config.actor_rate, fused=True)
        self.alpha_optimizer = torch.optim.Adam([self.log_alpha], lr=config.actor_rate)
        self.guard, self.updates = Guard(), 0

    def fit_scaler(self, features: Tensor) -> None:
        """Takes the statistics of features [B, F] once, before the first update."""
        config = self.config
        self.scaler.fit(features, weights_of(config.features, config.compact, config.view_weight))

    def update(self, batch: Batch, generator: torch.Generator, *, mc_share: float | None = None) -> dict[str, float]:
        """One step of Q_A, Q_W, the actor and the temperature.

        Args:
            batch: Windows.
            generator: Of every draw.
            mc_share: Share of the Monte-Carlo return in Q_A's target where it is known: 1 to warm up.

        Raises:
            DivergenceError: No step was taken, and nothing has changed.
        """
        batch = replace(batch, features=self.scaler(batch.features), next_features=self.scaler(batch.next_features))
        first, metrics = self._action_wish(batch, generator, mc_share or 0.0)
        second, more = self._noise_wish(batch, generator)
        actor, most = self._actor_wishes(batch, generator)
        norms = self.guard.take([first, second, *actor])
        self.of_action.follow()
        self.of_noise.follow()
        self.updates += 1
        return metrics | more | most | {f"{name}/norm": norm for name, norm in norms.items()}

    def noise(
        self, features: Tensor, count: int, generator: torch.Generator | None = None, *, explore: bool = False
    ) -> Tensor:
        """Noise [count, H, M] to start from at features [F]: the mode first, samples after it or everywhere."""
        return self.acting.noise(features, count, generator, explore=explore)

    def architecture(self) -> dict[str, Any]:
        """The fields of `DsrlActorConfig`, as JSON can hold them."""
        return architecture_of(self.acting.config)

    def actor_weights(self) -> dict[str, Tensor]:
        """A copy of what acting needs, as `DsrlActor` names it."""
        return {name: value.detach().clone() for name, value in self.acting.state_dict().items()}

    def _action_wish(self, batch: Batch, generator: torch.Generator, share: float) -> tuple[Wish, dict[str, float]]:
        with torch.no_grad():
            noise = self._actor_noise(batch.next_features, generator)[0]
            after = self.of_noise.score(batch.next_features, noise[:, None], Reduce.SUBSET, generator)[:, 0]
            target = batch.reward + batch.discount * batch.mask * after
            known = torch.isfinite(batch.mc_return)
            target = torch.where(known, torch.lerp(target, batch.mc_return, share), target)
        loss = self.of_action.loss(batch.features, batch.actions.flatten(1), target, batch.valid)
        metrics = {"critic/loss": float(loss.detach()), "critic/target": float(target.mean())}
        return Wish("critic", self.of_action.optimizer, loss), metrics

    def _noise_wish(self, batch: Batch, generator: torch.Generator) -> tuple[Wish, dict[str, float]]:
        draws = self.config.distil_draws
        index = torch.randint(batch.noise.shape[1], (len(batch) * draws,), generator=generator)
        rows = torch.arange(len(batch)).repeat(draws)
        noise, chunk = batch.noise[rows, index].flatten(1), batch.candidates[rows, index].flatten(1)
        features = batch.features[rows]
        with torch.no_grad():
            target = self.of_action.values(features, chunk[:, None], target=True).mean(0)[:, 0]
        loss = self.of_noise.loss(features, noise / self.config.bound, target, batch.valid[rows])
        return Wish("noise_critic", self.of_noise.optimizer, loss), {"noise_critic/loss": float(loss.detach())}

    def _actor_noise(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Scaled flat noise [B, W] for Q_W, and the log density of the knots."""
        knots, log_prob = self.actor(features).sample(generator)
        return self.actor.expand(knots).flatten(1) / self.config.bound, log_prob

    def _actor_wishes(self, batch: Batch, generator: torch.Generator) -> tuple[list[Wish], dict[str, float]]:
        noise, log_prob = self._actor_noise(batch.features, generator)
        alpha = float(self.log_alpha.detach().exp()) if self.config.alpha > 0.0 else 0.0
        value = self.of_noise.values(batch.features, noise[:, None]).mean(0)[:, 0]
        wishes = [Wish("actor", self.actor_optimizer, (alpha * log_prob - value).mean())]
        if self.config.learn_alpha and self.config.alpha > 0.0:
            gap = -float(log_prob.detach().mean()) - self.config.target_entropy
            wishes.append(Wish("temperature", self.alpha_optimizer, self.log_alpha.exp() * gap))
        told = {"actor/value": float(value.detach().mean()), "actor/entropy": -float(log_prob.detach().mean())}
        return wishes, told

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "action": self.of_action.online,
            "action_target": self.of_action.target,
            "noise": self.of_noise.online,
            "noise_target": self.of_noise.target,
            "actor": self.actor,
            "scaler": self.scaler,
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Everything with moments."""
        return {
            "action_optimizer": self.of_action.optimizer,
            "noise_optimizer": self.of_noise.optimizer,
            "actor_optimizer": self.actor_optimizer,
            "alpha_optimizer": self.alpha_optimizer,
        }
