# SPDX-License-Identifier: Apache-2.0
"""RLT, stage 2: a chunk actor beside the VLA, learnt by TD3 with twin critics and held near the VLA's chunk.

The actor sees the features (with stage 1 in them, the RL token) and the reference, the first steps of the VLA's first
candidate. In half of the rows the reference is not shown, so that the actor cannot only copy it; it is pulled towards
it all the same. Where a human drove, their chunk is action and reference alike (RLT, arXiv 2604.23073, section "RL").

Legend: B batch, C executed steps, A action dims, D = C * A, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rl_methods.base import DataSpec
from rl_methods.common.algorithm import FeatureAlgorithm
from rl_methods.common.batch import Batch, WindowShape
from rl_methods.common.critic import Critic, CriticConfig
from rl_methods.common.draws import normal, uniform
from rl_methods.common.feature_scaling import feature_scales
from rl_methods.common.guard import GradientStep, Guard
from rl_methods.common.networks import Scaler
from rl_methods.common.scoring import Reduce
from rl_methods.common.targets import backup, with_returns
from rl_methods.config import DERIVED, MethodConfig
from rl_methods.rlt.actor import ChunkActor, RltActor, RltActorConfig, within

LEAST_Q = 1e-3  # of the mean |Q| that beta is scaled by: a critic of zeros must not let the actor go


@dataclass(frozen=True)
class RltConfig:
    """Hyperparameters.

    Attributes:
        features: F.
        steps: C.
        action_dim: A.
        critic: of the twin critics.
        state_features: how many of the features, the last ones, are positions and proprioception; at least 0. As the
            VLA's contract says where a file leaves it out.
        image_feature_scale: deviation of the other features beside those, above 0; see `feature_scales`.
        bound: largest distance of the chunk from the VLA's per action dim, normalised units, above 0; one entry for
            all, two for the arm's and the gripper, or A entries. A file may give `{cartesian: [...], joint: [...]}`.
        sigma: deviation of the chunk while exploring and in the target, normalised units, at least 0.
        beta: weight of the squared distance to the reference (mean over the chunk's numbers), times the mean |Q| of
            the batch; at least 0.
        reference_dropout: share of the rows in which the actor is not shown the reference, 0..1.
        actor_hidden: widths.
        actor_rate: learning rate, above 0.
        actor_every: critic updates per actor update, at least 1.
    """

    features: int = field(metadata=DERIVED)
    steps: int = field(default=8, metadata=DERIVED)
    action_dim: int = field(default=7, metadata=DERIVED)
    critic: CriticConfig = field(default_factory=lambda: CriticConfig(members=2), metadata=DERIVED)
    state_features: int = 0
    image_feature_scale: float = 1.0
    bound: tuple[float, ...] = (0.5,)
    sigma: float = 0.05
    beta: float = 5.0
    reference_dropout: float = 0.5
    actor_hidden: tuple[int, ...] = (256, 256)
    actor_rate: float = 3e-4
    actor_every: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and what is allowed.
        """
        if not (math.isfinite(self.beta) and self.beta >= 0.0):
            raise ValueError(f"beta is {self.beta}, must be finite and at least 0")
        if not 0.0 <= self.reference_dropout <= 1.0:
            raise ValueError(f"reference_dropout is {self.reference_dropout}, allowed: 0..1")
        if not (math.isfinite(self.actor_rate) and self.actor_rate > 0.0):
            raise ValueError(f"actor_rate is {self.actor_rate}, must be finite and positive")
        if self.actor_every < 1:
            raise ValueError(f"actor_every is {self.actor_every}, must be at least 1")
        feature_scales(self.features, self.state_features, self.image_feature_scale)
        self.actor()

    def actor(self) -> RltActorConfig:
        """The part that acting needs."""
        return RltActorConfig(
            self.features, self.steps, self.action_dim, self.bound, self.sigma, self.actor_hidden
        )  # fmt: skip


class Rlt(FeatureAlgorithm):
    """Twin critics, the chunk actor, and their optimisers."""

    settings_type = RltConfig

    def __init__(self, config: RltConfig) -> None:
        """Fresh weights from torch's global seed."""
        self.config = config
        self.data_spec = DataSpec(frozenset({"candidates", "next_candidates"}), critical_phase_only=True)
        self.critic = Critic(config.critic, config.features, config.actor().chunk_dim)
        self.policy = ChunkActor(config.actor())
        self.scaler = Scaler(config.features)
        self.acting = RltActor(config.actor(), self.policy, self.scaler)
        self.actor_optimizer = torch.optim.Adam(self.policy.parameters(), lr=config.actor_rate, fused=True)
        self.guard, self.updates = Guard(), 0

    @classmethod
    def build(cls, config: MethodConfig, shape: WindowShape) -> Rlt:
        """Fresh networks for windows of a shape; see `Algorithm`."""
        sizes = {"features": shape.features, "steps": shape.steps, "action_dim": shape.action_dim}
        return cls(config.settings_of(RltConfig, **sizes))

    # -- learning -----------------------------------------------------------------------------------------------

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of the critics, and of the actor in every `actor_every`-th; see `Algorithm`."""
        batch = self.scaled(batch)
        step, metrics = self.critic_loss(batch, generator, mc_share=0.0)
        steps = [step]
        if (self.updates + 1) % self.config.actor_every == 0:
            step, actor_metrics = self.actor_loss(batch, generator)
            steps, metrics = [*steps, step], metrics | actor_metrics
        return self.take(steps, metrics, [self.critic])

    def offline_update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of the critics alone, on Monte-Carlo returns where they are known: the actor is still the VLA."""
        step, metrics = self.critic_loss(self.scaled(batch), generator, mc_share=1.0)
        return self.take([step], metrics, [self.critic])

    def critic_loss(
        self, batch: Batch, generator: torch.Generator, mc_share: float
    ) -> tuple[GradientStep, dict[str, float]]:
        """Regression of both critics to one target; features already scaled."""
        target = with_returns(batch, self.target(batch, generator), mc_share)
        loss = self.critic.loss(batch.features, batch.actions.flatten(1), target, batch.valid)
        metrics = {"critic/loss": float(loss.detach()), "critic/target": float(target.mean())}
        return GradientStep("critic", self.critic.optimizer, loss), metrics

    @torch.no_grad()
    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """R + gamma^C M min_j Q'_j(x', a'), a' ~ pi(.|x', a~'), [B]; the reference is always shown."""
        reference = batch.next_candidates[:, 0].flatten(1)
        chunk = self._sample(self.policy(batch.next_features, reference), reference, generator)
        after = self.critic.score(batch.next_features, chunk[:, None], Reduce.MINIMUM, None)[:, 0]
        return backup(batch, after)

    def actor_loss(self, batch: Batch, generator: torch.Generator) -> tuple[GradientStep, dict[str, float]]:
        """-Q(x, a) + beta mean|Q| ||a - a~||^2, with a~ hidden from the input in a share of the rows.

        The distance is measured before clipping: it leads a chunk that has left the bound back into it, where the
        critic's gradient counts again.
        """
        config = self.config
        reference = reference_of(batch)
        is_shown = uniform((len(batch), 1), generator, reference) >= config.reference_dropout
        mean = self.policy(batch.features, reference * is_shown)
        chunk = self._sample(mean, reference, generator)
        value = self.critic.values(batch.features, chunk[:, None]).mean(0)[:, 0]
        scale = value.detach().abs().mean().clamp(min=LEAST_Q)
        distance = (mean - reference).pow(2).mean(1)
        weight = batch.valid / batch.valid.sum().clamp(min=1.0)
        loss = ((config.beta * scale * distance - value) * weight).sum()
        metrics = {
            "actor/value": float((value.detach() * weight).sum()),
            "actor/distance": float((distance.detach() * weight).sum()),
        }
        return GradientStep("actor", self.actor_optimizer, loss), metrics

    def _sample(self, mean: Tensor, reference: Tensor, generator: torch.Generator) -> Tensor:
        """Chunks [B, D] as acting would play them."""
        noise = self.config.sigma * normal(mean.shape, generator, mean)
        return within(mean + noise, reference, self.acting.bound)

    # -- as tensors ---------------------------------------------------------------------------------------------

    def modules(self) -> dict[str, nn.Module]:
        """Everything with weights, targets included."""
        return {
            "critic": self.critic.online,
            "critic_target": self.critic.target,
            "actor": self.policy,
            "scaler": self.scaler,
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Everything with moments."""
        return {"critic_optimizer": self.critic.optimizer, "actor_optimizer": self.actor_optimizer}


def reference_of(batch: Batch) -> Tensor:
    """The reference chunk [B, D]: the VLA's first candidate, or what a human did where one drove."""
    is_human = (batch.human > 0.0)[:, None]
    return torch.where(is_human, batch.actions.flatten(1), batch.candidates[:, 0].flatten(1))
