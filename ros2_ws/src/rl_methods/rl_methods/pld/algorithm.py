# SPDX-License-Identifier: Apache-2.0
"""PLD's learner: SAC on a residual of the VLA's chunk, the critic warm-started by Cal-QL on the VLA's own successes.

Critic and actor see the base chunk (the VLA's first candidate); the critic values what was executed, base and residual
together. Half of every batch are the successes of the base, half is everything. The entropy is that of the knots,
measured from the uniform distribution in their box: 0 at the widest, negative else. That is the differential entropy
but for a constant; the constant would be a reward or a price per step, and so change how long an episode is worth.

Legend: B batch, C executed steps, A action dims, D = C * A, K knots, F features, S samples, E critics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from rl_methods.base import DataSpec
from rl_methods.common.algorithm import FeatureAlgorithm
from rl_methods.common.batch import Batch, WindowShape
from rl_methods.common.critic import Critic, CriticConfig
from rl_methods.common.draws import uniform as draw_uniform
from rl_methods.common.feature_scaling import feature_scales
from rl_methods.common.guard import GradientStep, Guard
from rl_methods.common.networks import ScaledTanhNormal, Scaler
from rl_methods.common.scoring import Reduce
from rl_methods.common.targets import backup
from rl_methods.common.temperature import Temperature
from rl_methods.config import DERIVED, MethodConfig
from rl_methods.pld.actor import PldActor, PldActorConfig
from rl_methods.pld.cal_ql import Sampled, conservative_gap


@dataclass(frozen=True)
class PldConfig:
    """Hyperparameters.

    Attributes:
        features: F.
        steps: C.
        action_dim: A.
        critic: of the values.
        state_features: how many of the features, the last ones, are positions and proprioception; at least 0. As the
            VLA's contract says where a file leaves it out.
        image_feature_scale: deviation of the other features beside those, above 0; see `feature_scales`.
        xi: largest residual per action dim, normalised units, above 0; one entry for all, two for the arm's and the
            gripper, or A entries. A file may give `{cartesian: [...], joint: [...]}`.
        knots: K, 1..C; a residual is K values per action dim, interpolated over the steps. C means every step its own.
        actor_hidden: widths.
        actor_rate: learning rate of actor and temperature, above 0.
        alpha: initial temperature, at least 0; 0 means none.
        learn_alpha: adapt it to `target_entropy`.
        target_entropy: nats per knot value, measured from the widest; at most 0.
        conservative_weight: weight of the conservative term in the warm-up, at least 0; 0 is plain SAC.
        conservative_samples: S, actions of each kind in it, at least 1.
        probe_share: largest share of an episode that the VLA plays alone while exploring, 0..1.
        probe_steps: T, control steps of an episode that succeeds at its usual pace, at least 1.
    """

    features: int = field(metadata=DERIVED)
    steps: int = field(default=8, metadata=DERIVED)
    action_dim: int = field(default=7, metadata=DERIVED)
    critic: CriticConfig = field(default_factory=lambda: CriticConfig(members=2), metadata=DERIVED)
    state_features: int = 0
    image_feature_scale: float = 1.0
    xi: tuple[float, ...] = (0.3,)
    knots: int = 8
    actor_hidden: tuple[int, ...] = (256, 256, 256)
    actor_rate: float = 3e-4
    alpha: float = 0.01
    learn_alpha: bool = True
    target_entropy: float = -0.5
    conservative_weight: float = 5.0
    conservative_samples: int = 10
    probe_share: float = 0.6
    probe_steps: int = 100

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and what is allowed.
        """
        for name in ("alpha", "conservative_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} is {value}, must be finite and at least 0")
        if not (math.isfinite(self.actor_rate) and self.actor_rate > 0.0):
            raise ValueError(f"actor_rate is {self.actor_rate}, must be finite and positive")
        if not (math.isfinite(self.target_entropy) and self.target_entropy <= 0.0):
            raise ValueError(f"target_entropy is {self.target_entropy}, must be finite and at most 0, the widest")
        if self.conservative_samples < 1:
            raise ValueError(f"conservative_samples is {self.conservative_samples}, must be at least 1")
        feature_scales(self.features, self.state_features, self.image_feature_scale)
        self.actor()

    def actor(self) -> PldActorConfig:
        """The part that acting needs."""
        return PldActorConfig(
            self.features, self.steps, self.action_dim, self.xi, self.knots, self.actor_hidden, self.probe_share,
            self.probe_steps,
        )  # fmt: skip


class Pld(FeatureAlgorithm):
    """Critics, the residual policy, the temperature, and their optimisers."""

    settings_type = PldConfig

    def __init__(self, config: PldConfig) -> None:
        """Fresh weights from torch's global seed."""
        self.config, actor = config, config.actor()
        self.data_spec = DataSpec(frozenset({"candidates", "next_candidates"}), base_successes=True)
        self.critic = Critic(config.critic, config.features, actor.chunk_dim)
        self.policy = actor.residual()
        self.scaler = Scaler(config.features)
        self.acting = PldActor(actor, self.policy, self.scaler)
        self.actor_optimizer = torch.optim.Adam(self.policy.parameters(), lr=config.actor_rate, fused=True)
        goal = config.target_entropy * len(self.policy.scale)
        self.temperature = Temperature(config.alpha, goal, config.actor_rate, learn=config.learn_alpha)
        self.widest = float(torch.log(2.0 * self.policy.scale).sum())  # entropy of the uniform distribution, nats
        self.guard, self.updates = Guard(), 0

    @classmethod
    def build(cls, config: MethodConfig, shape: WindowShape) -> Pld:
        """Fresh networks for windows of a shape; see `Algorithm`."""
        sizes = {"features": shape.features, "steps": shape.steps, "action_dim": shape.action_dim}
        return cls(config.settings_of(PldConfig, **sizes))

    # -- learning -----------------------------------------------------------------------------------------------

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of the critics, the residual policy and the temperature; see `Algorithm`."""
        batch = self.scaled(batch)
        step, metrics = self.critic_loss(batch, generator, batch.valid)
        steps, actor_metrics = self.actor_losses(batch, generator)
        return self.take([step, *steps], metrics | actor_metrics, [self.critic])

    def offline_update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of the critics by Cal-QL on what succeeded; the residual policy is held, so that it begins small."""
        batch = self.scaled(batch)
        weight = batch.valid * batch.success
        step, metrics = self.critic_loss(batch, generator, weight)
        if self.config.conservative_weight > 0.0:
            gap = (self.conservative_gap(batch, generator).mean(0) * weight).sum() / weight.sum().clamp(min=1.0)
            step = replace(step, loss=step.loss + self.config.conservative_weight * gap)
            metrics["critic/conservative_gap"] = float(gap.detach())
        return self.take([step], metrics, [self.critic])

    def critic_loss(
        self, batch: Batch, generator: torch.Generator, weight: Tensor
    ) -> tuple[GradientStep, dict[str, float]]:
        """Regression of all critics, at the executed chunks, to one target; features already scaled."""
        target = self.target(batch, generator)
        loss = self.critic.loss(batch.features, batch.actions.flatten(1), target, weight)
        metrics = {"critic/loss": float(loss.detach()), "critic/target": float(target.mean())}
        return GradientStep("critic", self.critic.optimizer, loss), metrics

    @torch.no_grad()
    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """R + gamma^C M (min_j Q'_j(s', a_b' + delta') - alpha log pi(delta'|s', a_b')), [B]."""
        base = batch.next_candidates[:, 0].flatten(1)
        chunk, log_prob = self._sample(batch.next_features, base, generator)
        value = self.critic.score(batch.next_features, chunk[:, None], Reduce.MINIMUM, None)[:, 0]
        return backup(batch, value - self.temperature.alpha * log_prob)

    def actor_losses(self, batch: Batch, generator: torch.Generator) -> tuple[list[GradientStep], dict[str, float]]:
        """Losses alpha log pi - min Q at base and residual, and of the temperature."""
        chunk, log_prob = self._sample(batch.features, batch.candidates[:, 0].flatten(1), generator)
        value = self.critic.values(batch.features, chunk[:, None]).amin(0)[:, 0]
        weight = batch.valid / batch.valid.sum().clamp(min=1.0)
        loss = ((self.temperature.alpha * log_prob - value) * weight).sum()
        entropy = -(log_prob.detach() * weight).sum()
        metrics = {
            "actor/value": float((value.detach() * weight).sum()),
            "actor/entropy": float(entropy),
            "actor/alpha": self.temperature.alpha,
        }
        return [GradientStep("actor", self.actor_optimizer, loss), *self.temperature.steps(entropy)], metrics

    def conservative_gap(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """`cal_ql.conservative_gap` of a batch, [E, B]; densities are measured from the uniform one."""
        count = self.config.conservative_samples
        base = batch.candidates[:, 0].flatten(1)
        box = self.policy.scale
        drawn = draw_uniform((len(batch), count, len(box)), generator, base)
        uniform = Sampled(
            self.critic.values(batch.features, base[:, None] + self.policy.spread((2.0 * drawn - 1.0) * box)),
            base.new_zeros(()),
        )
        policies = []
        following = batch.next_candidates[:, 0].flatten(1)
        for features, from_base in ((batch.features, base), (batch.next_features, following)):
            with torch.no_grad():
                chunks, log_prob = self._sample(_repeat(features, count), _repeat(from_base, count), generator)
            # a residual of the next state is tried on this state's base
            moved = chunks - from_base[:, None] + base[:, None]
            policies.append(Sampled(self.critic.values(batch.features, moved), log_prob))
        data = self.critic.values(batch.features, batch.actions.flatten(1)[:, None])[:, :, 0]
        return conservative_gap(data, uniform, policies, batch.mc_return)

    def _sample(self, features: Tensor, base: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Chunks [..., D] of base and residual, and log densities [...] of the knots from the uniform one."""
        policy: ScaledTanhNormal = self.policy(features, base)
        knots, log_prob = policy.sample(generator)
        return base + self.policy.spread(knots), log_prob + self.widest

    # -- as tensors ---------------------------------------------------------------------------------------------

    def modules(self) -> dict[str, nn.Module]:
        """Everything with weights, targets included."""
        return {
            "critic": self.critic.online,
            "critic_target": self.critic.target,
            "actor": self.policy,
            "temperature": self.temperature,
            "scaler": self.scaler,
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Everything with moments."""
        return {
            "critic_optimizer": self.critic.optimizer,
            "actor_optimizer": self.actor_optimizer,
            "alpha_optimizer": self.temperature.optimizer,
        }


def _repeat(values: Tensor, count: int) -> Tensor:
    """[B, X] -> [B, count, X]."""
    return values[:, None].expand(-1, count, -1)
