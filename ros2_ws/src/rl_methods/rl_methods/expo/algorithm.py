# SPDX-License-Identifier: Apache-2.0
"""EXPO's learner: base candidates, an edit policy, and the arg max of a critic over both, to act and to back up.

The base is frozen: its candidates at a window's start and end come with the data. Beyond the paper, for few episodes:
edits imitate what succeeded (so that a person's correction is an edit of what the base would have done), what a
person refused counts as a failure, and an edit must beat the best base candidate by a margin.

With `encoder: images` critic and edit policy read an image encoder that the critic's loss trains (EXPO-FT, arXiv
2605.25477), and proprioception, in place of the VLA's features.

Legend: B batch, N candidates, C executed steps, A action dims, D = C * A, K knots, F features, H horizon, Z state.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl_methods.base import IMAGES, PROPRIO, DataSpec
from rl_methods.common.algorithm import FeatureAlgorithm, copies_on_cpu
from rl_methods.common.batch import Batch, WindowShape
from rl_methods.common.critic import Critic, CriticConfig, polyak
from rl_methods.common.draws import indices
from rl_methods.common.encoder import check_encoder
from rl_methods.common.feature_scaling import feature_scales
from rl_methods.common.guard import GradientStep, Guard
from rl_methods.common.image_states import states_of, train_encoder_with
from rl_methods.common.networks import ScaledTanhNormal, Scaler
from rl_methods.common.residual import bound_over
from rl_methods.common.scoring import Reduce
from rl_methods.common.temperature import Temperature
from rl_methods.config import DERIVED, MethodConfig
from rl_methods.expo.actor import EditPolicy, ExpoActor, ExpoActorConfig, Rule
from rl_methods.registry import IMAGES as SEES_IMAGES

INSIDE = 0.98  # imitated edits stay this share inside the box, where tanh still has a slope


@dataclass(frozen=True)
class ExpoConfig:
    """Hyperparameters.

    Attributes:
        features: F.
        steps: C.
        action_dim: A.
        critic: of the values.
        state_features: how many of the features, the last ones, are positions and proprioception; as the VLA's
            contract says where a file leaves it out.
        image_feature_scale: deviation of the other features beside those; see `feature_scales`.
        edit: whether there is an edit policy.
        edit_scale: largest edit per action dimension, normalised units; one entry for all, two for the arm's and the
            gripper, or A entries. A file may give `{cartesian: [...], joint: [...]}`.
        edit_knots: K; an edit is K values per action dimension, interpolated over the steps. C means every step its
            own, 1 the same for all: what a wrong guess of the object's place asks for.
        edit_hidden: widths of the edit policy.
        edit_rate: its learning rate.
        edit_decay: its weight decay.
        q_weight: weight of the critic in the edit policy's loss.
        imitation_weight: weight of imitating what was executed in successful windows.
        human_weight: how much a window counts in imitation when a person commanded it.
        own_weight: the same when the policy did. Little: where the policy waits and a person acts, the imitation
            goes to the heavier side.
        alpha: initial temperature; 0 means none.
        learn_alpha: adapt the temperature to `target_entropy`.
        target_entropy: of the knots, in nats; by default half a nat per dimension below the widest.
        otf_backup: arg max over candidates in the backup, not only when acting.
        backup_candidates: base candidates used in the backup.
        best_of: base candidates considered when acting; 1 switches best-of-N off.
        select: how members are made into a score when acting.
        margin: an edited chunk must score higher than the best base candidate by this much.
        base_margin: another base candidate must score higher than the first by this much.
        refusal_weight: weight of the rows that say a refused chunk is worth nothing.
        mc_share: share of the Monte-Carlo return in the critic's target where it is known.
        mc_floor: use the Monte-Carlo return as a lower bound of the target, as Cal-QL does.
        acting_polyak: share of the newest weights that flows into those that act, per update; 1 acts with the newest.
            The last weights of a run are one draw of many that differ by the noise of the last updates.
        proprio: numbers of proprioception.
        cameras: of the VLA.
        encoder: `features` of the VLA, or `images` through a net of its own.
        image_size: side that images are brought to (px).
        encoder_maps: feature maps per layer.
        encoder_outputs: numbers that the encoder gives.
        shift: largest random shift of an image (px).
    """

    features: int = field(metadata=DERIVED)
    steps: int = field(default=8, metadata=DERIVED)
    action_dim: int = field(default=7, metadata=DERIVED)
    critic: CriticConfig = field(default_factory=CriticConfig, metadata=DERIVED)
    state_features: int = 0
    image_feature_scale: float = 1.0
    edit: bool = True
    edit_scale: tuple[float, ...] = (0.2,)
    edit_knots: int = 8
    edit_hidden: tuple[int, ...] = (256, 256)
    edit_rate: float = 3e-4
    edit_decay: float = 0.0
    q_weight: float = 1.0
    imitation_weight: float = 0.0
    human_weight: float = 1.0
    own_weight: float = 1.0
    alpha: float = 1.0
    learn_alpha: bool = True
    target_entropy: float | None = None
    otf_backup: bool = True
    backup_candidates: int = 8
    best_of: int = 8
    select: Reduce = Reduce.SUBSET
    margin: float = 0.0
    base_margin: float = 0.0
    refusal_weight: float = 0.0
    mc_share: float = 0.0
    mc_floor: bool = False
    acting_polyak: float = 1.0
    proprio: int = field(default=0, metadata=DERIVED)
    cameras: int = field(default=0, metadata=DERIVED)
    encoder: str = "features"
    image_size: int = 48
    encoder_maps: int = 16
    encoder_outputs: int = 64
    shift: int = 3

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        check_encoder(self.encoder, self.image_size, self.shift)
        if not 0.0 <= self.mc_share <= 1.0:
            raise ValueError(f"mc_share is {self.mc_share}, allowed: 0..1")
        if not 0.0 < self.acting_polyak <= 1.0:
            raise ValueError(f"acting_polyak is {self.acting_polyak}, allowed: above 0, to 1")
        feature_scales(self.features, self.state_features, self.image_feature_scale)
        for name in ("backup_candidates", "best_of"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        self.actor()

    @property
    def chunk_dim(self) -> int:
        """D."""
        return self.steps * self.action_dim

    def scale(self) -> Tensor:
        """Largest value of each knot, [K * A]."""
        return self.actor().scale()

    def entropy_goal(self) -> float:
        """Entropy that the temperature aims at, nats."""
        if self.target_entropy is not None:
            return self.target_entropy
        widest = float(torch.log(2.0 * self.scale()).sum())
        return widest - 0.5 * len(self.scale())

    def actor(self) -> ExpoActorConfig:
        """The part that acting needs."""
        critic, sees = self.critic, self.encoder == SEES_IMAGES
        return ExpoActorConfig(
            self.features, self.steps, self.action_dim, critic.members, critic.subset, critic.hidden, critic.bounded,
            critic.deviations, self.edit, self.edit_scale, self.edit_knots, self.edit_hidden, self.select.value,
            self.margin, self.base_margin, cameras=self.cameras if sees else 0,
            proprio=self.proprio if sees else 0,
            image_size=self.image_size, encoder_maps=self.encoder_maps, encoder_outputs=self.encoder_outputs,
        )  # fmt: skip

    def rule(self) -> Rule:
        """How scores decide when acting."""
        return Rule(self.best_of, self.select, self.margin, self.base_margin)


class Expo(FeatureAlgorithm):
    """Critic, edit policy, temperature, and their optimisers."""

    settings_type = ExpoConfig

    def __init__(self, config: ExpoConfig) -> None:
        """Fresh weights from torch's global seed."""
        self.config, actor = config, config.actor()
        images = PROPRIO | IMAGES if actor.cameras else frozenset[str]()
        self.data_spec = DataSpec(frozenset({"candidates", "next_candidates"}) | images)
        self.critic = Critic(config.critic, actor.state, config.chunk_dim)
        self.edit = EditPolicy(actor)
        self.scaler = Scaler(config.features)
        self.acting = ExpoActor(actor, self.critic.target, self.edit, self.scaler)
        if actor.cameras:
            train_encoder_with(self.critic, self.acting)
        averages = config.acting_polyak < 1.0
        self.average = copy.deepcopy(self.acting).requires_grad_(requires_grad=False) if averages else None
        self.edit_optimizer = torch.optim.AdamW(
            self.edit.parameters(), lr=config.edit_rate, weight_decay=config.edit_decay, fused=True
        )
        self.temperature = Temperature(
            config.alpha, config.entropy_goal(), config.edit_rate, learn=config.learn_alpha
        )  # fmt: skip
        self.guard, self.updates = Guard(), 0

    @classmethod
    def build(cls, config: MethodConfig, shape: WindowShape) -> Expo:
        """Fresh networks for windows of a shape; see `Algorithm`."""
        return cls(
            config.settings_of(
                ExpoConfig, features=shape.features, steps=shape.steps, action_dim=shape.action_dim,
                proprio=shape.proprio, cameras=shape.cameras,
            )
        )  # fmt: skip

    def fit_proprio(self, proprio: Tensor) -> None:
        """Take the statistics of proprioception [B, P], where it is read."""
        if self.acting.config.cameras:
            self.acting.proprio_scaler.fit(proprio)

    # -- learning -----------------------------------------------------------------------------------------------

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of the critic, the edit policy and the temperature; see `Algorithm`."""
        return self._update(batch, generator, self.config.mc_share)

    def offline_update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """The same on Monte-Carlo returns where they are known."""
        return self._update(batch, generator, mc_share=1.0)

    def _update(self, batch: Batch, generator: torch.Generator, mc_share: float) -> dict[str, float]:
        batch = self.observed(batch, generator)
        step, metrics = self.critic_loss(batch, generator, mc_share)
        steps = [step]
        if self.config.edit:
            # the critic alone trains the encoder
            more, edit_metrics = self.edit_losses(replace(batch, features=batch.features.detach()), generator)
            steps, metrics = steps + more, metrics | edit_metrics
        metrics = self.take(steps, metrics, [self.critic])
        if self.average is not None:
            self._follow(self.average)
        return metrics

    @torch.no_grad()
    def _follow(self, average: ExpoActor) -> None:
        """Let the average follow; of the first updates it is the plain mean, and so owes nothing to its start."""
        polyak(average, self.acting, max(self.config.acting_polyak, 1.0 / self.updates))
        for kept, newest in zip(average.buffers(), self.acting.buffers(), strict=True):
            kept.copy_(newest)

    def observed(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch with states [B, Z] as its features, those at the windows' end without the encoder's gradient."""
        if not self.acting.config.cameras:
            return self.scaled(batch)
        state, next_state = states_of(self.acting, batch, generator, self.config.shift)
        return replace(batch, features=state, next_features=next_state)

    def critic_loss(
        self, batch: Batch, generator: torch.Generator, mc_share: float
    ) -> tuple[GradientStep, dict[str, float]]:
        """Regression to the mixed target, and to 0 for what a human refused; features as `observed` gives them."""
        target = self.target(batch, generator, mc_share)
        loss = self.critic.loss(batch.features, batch.actions.flatten(1), target, batch.valid)
        metrics = {"critic/loss": float(loss.detach()), "critic/target": float(target.mean())}
        if self.config.refusal_weight > 0.0 and bool(batch.refused.any()):
            nothing = torch.zeros_like(target)
            refused = self.critic.loss(batch.features, batch.proposed.flatten(1), nothing, batch.refused)
            loss = loss + self.config.refusal_weight * batch.refused.mean() * refused
        return GradientStep("critic", self.critic.optimizer, loss), metrics

    @torch.no_grad()
    def target(self, batch: Batch, generator: torch.Generator, mc_share: float) -> Tensor:
        """[B]; the Monte-Carlo return where it is known and asked for, else a backup."""
        known = torch.isfinite(batch.mc_return)
        monte_carlo = torch.where(known, batch.mc_return, torch.zeros_like(batch.mc_return))
        if mc_share >= 1.0 and bool(known.all()):
            return monte_carlo
        after = batch.mask * batch.discount
        value = batch.reward + after * self.value_of(batch.next_features, batch.next_candidates, generator)
        if self.config.mc_floor:
            value = torch.where(known, torch.maximum(value, monte_carlo), value)
        share = mc_share * known.float()
        return share * monte_carlo + (1.0 - share) * value

    @torch.no_grad()
    def value_of(self, features: Tensor, candidates: Tensor, generator: torch.Generator) -> Tensor:
        """Value [B] of what this policy would play at [B, F] with base candidates [B, N, C, A]."""
        if not self.config.otf_backup:
            candidates = candidates[:, :1]
        base = candidates[:, : self.config.backup_candidates].flatten(2)  # [B, N, D]
        choices = base
        if self.config.edit:
            knots, _ = self.edit(_repeat(features, base.shape[1]), base).sample(generator)
            edited = base + self.edit.spread(knots)
            choices = torch.cat([base, edited], dim=1) if self.config.otf_backup else edited
        picked = choices[:, 0]
        if self.config.otf_backup:
            best = self.critic.score(features, choices, Reduce.SUBSET, generator).argmax(1)
            picked = choices.gather(1, best[:, None, None].expand(-1, 1, choices.shape[2]))[:, 0]
        return self.critic.score(features, picked[:, None], Reduce.SUBSET, generator)[:, 0]

    def edit_losses(self, batch: Batch, generator: torch.Generator) -> tuple[list[GradientStep], dict[str, float]]:
        """Of the edit policy, towards a high value, entropy and what succeeded; and of the temperature."""
        config = self.config
        base = batch.candidates.flatten(2)  # [B, N, D]
        index = indices(base.shape[1], len(batch), generator, base)
        base = base[torch.arange(len(batch), device=base.device), index]
        policy: ScaledTanhNormal = self.edit(batch.features, base)
        metrics = {"edit/alpha": self.temperature.alpha}
        steps: list[GradientStep] = []
        loss = base.new_zeros(())
        if config.q_weight > 0.0 or config.alpha > 0.0:
            knots, log_prob = policy.sample(generator)
            value = self.critic.values(batch.features, (base + self.edit.spread(knots))[:, None]).mean(0)[:, 0]
            weight = batch.valid / batch.valid.sum().clamp(min=1.0)
            loss = loss + ((self.temperature.alpha * log_prob - config.q_weight * value) * weight).sum()
            metrics |= {
                "edit/value": float((value.detach() * weight).sum()),
                "edit/entropy": -float(log_prob.detach().mean()),
            }
            steps += self.temperature.steps(-(log_prob.detach() * weight).sum())
        if config.imitation_weight > 0.0:
            imitation = self._imitation(policy, batch, base)
            loss = loss + config.imitation_weight * imitation
            metrics["edit/imitation"] = float(imitation.detach())
        return [GradientStep("edit", self.edit_optimizer, loss), *steps], metrics

    def _imitation(self, policy: ScaledTanhNormal, batch: Batch, base: Tensor) -> Tensor:
        """Distance between the edit without noise and the one that would have made what succeeded.

        A person's chunk is right whatever the base proposes. What the policy did is imitated as the edit that it made
        of its own candidate, mostly none: the way from another candidate to it would draw all of them to their mean,
        and the mean of closing the hand and leaving it open is neither.
        """
        bound = INSIDE * bound_over(self.config.edit_scale, self.config.steps, self.config.action_dim).to(base.device)
        actions = batch.actions.flatten(1)
        candidates = batch.candidates.flatten(2)
        nearest = (candidates - actions[:, None]).pow(2).sum(-1).argmin(1)
        own = candidates[torch.arange(len(batch), device=base.device), nearest]
        person = (batch.human > 0.0)[:, None]
        wanted = torch.maximum(torch.minimum(actions - torch.where(person, base, own), bound), -bound)
        error = F.smooth_l1_loss(self.edit.spread(policy.mode()), wanted, reduction="none", beta=0.1).mean(-1)
        # where a person cut in halfway, the first steps are the very mistake that made them
        clean = 1.0 - batch.refused * (batch.human < 1.0)
        own, human = self.config.own_weight, self.config.human_weight
        weight = batch.valid * batch.success * clean * (own + (human - own) * batch.human)
        return (error * weight).sum() / weight.sum().clamp(min=1.0)

    # -- as tensors ---------------------------------------------------------------------------------------------

    def policy_weights(self) -> dict[str, Tensor]:
        """A copy of what acting needs, averaged where that is set."""
        source = self.acting if self.average is None else self.average
        return copies_on_cpu(source)

    def modules(self) -> dict[str, nn.Module]:
        """Everything with weights, targets included."""
        sees = self.acting.config.cameras > 0
        eyes = {"encoder": self.acting.encoder, "proprio_scaler": self.acting.proprio_scaler} if sees else {}
        averaged: dict[str, nn.Module] = {} if self.average is None else {"average": self.average}
        return averaged | {
            "critic": self.critic.online,
            "critic_target": self.critic.target,
            "edit": self.edit,
            "temperature": self.temperature,
            "scaler": self.scaler,
            **eyes,
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Everything with moments."""
        return {
            "critic_optimizer": self.critic.optimizer,
            "edit_optimizer": self.edit_optimizer,
            "alpha_optimizer": self.temperature.optimizer,
        }


def _repeat(features: Tensor, count: int) -> Tensor:
    return features[:, None].expand(-1, count, -1)
