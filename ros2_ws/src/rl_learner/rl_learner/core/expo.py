# SPDX-License-Identifier: Apache-2.0
"""EXPO: base candidates, an edit policy, and the arg max of a critic over both, to act and to back up.

The base is frozen: its candidates at a window's start and end come with the data. Beyond the paper, for few episodes:
edits imitate what succeeded (so that a person's correction is an edit of what the base would have done), what a
person refused counts as a failure, and an edit must beat the best base candidate by a margin.

Legend: B batch, N candidates, C executed steps, A action dims, D = C * A, K knots, F features, H horizon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl_learner.core.critic import Critic, CriticConfig
from rl_learner.core.guard import Guard, Wish
from rl_learner.core.replay import Batch
from rl_learner.core.resumable import Resumable
from rl_learner.core.weighing import weights_of
from vla_policy.core.steering.architecture import architecture_of
from vla_policy.core.steering.expo import EditPolicy, ExpoActor, ExpoActorConfig, Pick, Rule
from vla_policy.core.steering.networks import ScaledTanhNormal, Scaler
from vla_policy.core.steering.scoring import Reduce

INSIDE = 0.98  # imitated edits stay this share inside the box, where tanh still has a slope


@dataclass(frozen=True)
class ExpoConfig:
    """Hyperparameters.

    Attributes:
        features: F.
        steps: C.
        action_dim: A.
        critic: of the values.
        compact: how many of the features, the last ones, are compact: positions and proprioception.
        view_weight: of the other features beside those, after both were brought to unit deviation; see `weights_of`.
        edit: whether there is an edit policy.
        edit_scale: largest edit per action dimension, normalised units; one entry for all or A entries.
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
    """

    features: int
    steps: int = 8
    action_dim: int = 7
    critic: CriticConfig = field(default_factory=CriticConfig)
    compact: int = 0
    view_weight: float = 1.0
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

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        if not 0.0 <= self.mc_share <= 1.0:
            raise ValueError(f"mc_share is {self.mc_share}, allowed: 0..1")
        weights_of(self.features, self.compact, self.view_weight)
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

    def actor(self) -> ExpoActorConfig:
        """The part that acting needs."""
        critic = self.critic
        return ExpoActorConfig(
            self.features, self.steps, self.action_dim, critic.members, critic.subset, critic.hidden, critic.bounded,
            critic.deviations, self.edit, self.edit_scale, self.edit_knots, self.edit_hidden, self.select.value,
            self.margin, self.base_margin,
        )  # fmt: skip

    def rule(self) -> Rule:
        """How scores decide when acting."""
        return Rule(self.best_of, self.select, self.margin, self.base_margin)


class Expo(Resumable):
    """Critic, edit policy, temperature, and their optimisers."""

    def __init__(self, config: ExpoConfig) -> None:
        """Fresh weights from torch's global seed."""
        self.config = config
        self.critic = Critic(config.critic, config.features, config.chunk_dim)
        self.edit = EditPolicy(config.actor())
        self.scaler = Scaler(config.features)
        self.actor = ExpoActor(config.actor(), self.critic.target, self.edit, self.scaler)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(max(config.alpha, 1e-8))))
        self.edit_optimizer = torch.optim.AdamW(
            self.edit.parameters(), lr=config.edit_rate, weight_decay=config.edit_decay, fused=True
        )
        self.alpha_optimizer = torch.optim.Adam([self.log_alpha], lr=config.edit_rate)
        self.guard, self.updates = Guard(), 0
        widest = float(torch.log(2.0 * config.scale()).sum())
        usual = widest - 0.5 * len(config.scale())
        self.target_entropy = usual if config.target_entropy is None else config.target_entropy

    # -- learning -----------------------------------------------------------------------------------------------

    def fit_scaler(self, features: Tensor) -> None:
        """Takes the statistics of features [B, F] once, before the first update."""
        config = self.config
        self.scaler.fit(features, weights_of(config.features, config.compact, config.view_weight))

    def update(self, batch: Batch, generator: torch.Generator, *, mc_share: float | None = None) -> dict[str, float]:
        """One step of the critic, the edit policy and the temperature.

        Args:
            batch: Windows.
            generator: Of every draw.
            mc_share: Overrides the configured share of the Monte-Carlo return: 1 to warm up.

        Raises:
            DivergenceError: No step was taken, and nothing has changed.
        """
        batch = replace(batch, features=self.scaler(batch.features), next_features=self.scaler(batch.next_features))
        wish, metrics = self.critic_wish(batch, generator, mc_share=mc_share)
        wishes = [wish]
        if self.config.edit:
            more, told = self.edit_wishes(batch, generator)
            wishes, metrics = wishes + more, metrics | told
        norms = self.guard.take(wishes)
        self.critic.follow()
        self.updates += 1
        return metrics | {f"{name}/norm": norm for name, norm in norms.items()}

    def critic_wish(
        self, batch: Batch, generator: torch.Generator, *, mc_share: float | None = None
    ) -> tuple[Wish, dict[str, float]]:
        """Regression to the mixed target, and to nothing for what a person refused; features already scaled."""
        share = self.config.mc_share if mc_share is None else mc_share
        target = self.target(batch, generator, share)
        loss = self.critic.loss(batch.features, batch.actions.flatten(1), target, batch.valid)
        metrics = {"critic/loss": float(loss.detach()), "critic/target": float(target.mean())}
        if self.config.refusal_weight > 0.0 and bool(batch.refused.any()):
            nothing = torch.zeros_like(target)
            refused = self.critic.loss(batch.features, batch.proposed.flatten(1), nothing, batch.refused)
            loss = loss + self.config.refusal_weight * batch.refused.mean() * refused
        return Wish("critic", self.critic.optimizer, loss), metrics

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

    def edit_wishes(self, batch: Batch, generator: torch.Generator) -> tuple[list[Wish], dict[str, float]]:
        """Of the edit policy, towards a high value, entropy and what succeeded; and of the temperature."""
        config = self.config
        base = batch.candidates.flatten(2)  # [B, N, D]
        index = torch.randint(base.shape[1], (len(batch),), generator=generator)
        base = base[torch.arange(len(batch)), index]
        policy: ScaledTanhNormal = self.edit(batch.features, base)
        metrics = {"edit/alpha": float(self.log_alpha.detach().exp())}
        wishes: list[Wish] = []
        loss = torch.zeros(())
        if config.q_weight > 0.0 or config.alpha > 0.0:
            knots, log_prob = policy.sample(generator)
            value = self.critic.values(batch.features, (base + self.edit.spread(knots))[:, None]).mean(0)[:, 0]
            weight = batch.valid / batch.valid.sum().clamp(min=1.0)
            alpha = float(self.log_alpha.detach().exp()) if config.alpha > 0.0 else 0.0
            loss = loss + ((alpha * log_prob - config.q_weight * value) * weight).sum()
            metrics |= {
                "edit/value": float((value.detach() * weight).sum()),
                "edit/entropy": -float(log_prob.detach().mean()),
            }
            if config.alpha > 0.0 and config.learn_alpha:
                gap = -(log_prob.detach() * weight).sum() - self.target_entropy  # entropy above the target
                wishes.append(Wish("temperature", self.alpha_optimizer, self.log_alpha.exp() * gap))
        if config.imitation_weight > 0.0:
            imitation = self._imitation(policy, batch, base)
            loss = loss + config.imitation_weight * imitation
            metrics["edit/imitation"] = float(imitation.detach())
        return [Wish("edit", self.edit_optimizer, loss), *wishes], metrics

    def _imitation(self, policy: ScaledTanhNormal, batch: Batch, base: Tensor) -> Tensor:
        """Distance between the edit without noise and the one that would have made what succeeded.

        A person's chunk is right whatever the base proposes. What the policy did is imitated as the edit that it made
        of its own candidate, mostly none: the way from another candidate to it would draw all of them to their mean,
        and the mean of closing the hand and leaving it open is neither.
        """
        bound = INSIDE * torch.tensor(self.config.edit_scale).expand(self.config.action_dim).repeat(self.config.steps)
        actions = batch.actions.flatten(1)
        candidates = batch.candidates.flatten(2)
        nearest = (candidates - actions[:, None]).pow(2).sum(-1).argmin(1)
        own = candidates[torch.arange(len(batch)), nearest]
        person = (batch.human > 0.0)[:, None]
        wanted = torch.maximum(torch.minimum(actions - torch.where(person, base, own), bound), -bound)
        error = F.smooth_l1_loss(self.edit.spread(policy.mode()), wanted, reduction="none", beta=0.1).mean(-1)
        # where a person cut in halfway, the first steps are the very mistake that made them
        clean = 1.0 - batch.refused * (batch.human < 1.0)
        own, human = self.config.own_weight, self.config.human_weight
        weight = batch.valid * batch.success * clean * (own + (human - own) * batch.human)
        return (error * weight).sum() / weight.sum().clamp(min=1.0)

    # -- as tensors ---------------------------------------------------------------------------------------------

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "critic": self.critic.online,
            "critic_target": self.critic.target,
            "edit": self.edit,
            "scaler": self.scaler,
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Everything with moments."""
        return {
            "critic_optimizer": self.critic.optimizer,
            "edit_optimizer": self.edit_optimizer,
            "alpha_optimizer": self.alpha_optimizer,
        }

    # -- acting -------------------------------------------------------------------------------------------------

    def choose(
        self,
        features: Tensor,
        candidates: Tensor,
        generator: torch.Generator | None = None,
        *,
        share: float = 1.0,
        explore: bool = False,
    ) -> Pick:
        """Picks among base and edited candidates; arguments as in `ExpoActor.choose`."""
        return self.actor.choose(features, candidates, generator, rule=self.config.rule(), share=share, explore=explore)

    def architecture(self) -> dict[str, Any]:
        """The fields of `ExpoActorConfig`, as JSON can hold them."""
        return architecture_of(self.actor.config)

    def actor_weights(self) -> dict[str, Tensor]:
        """A copy of what acting needs, as `ExpoActor` names it."""
        return {name: value.detach().clone() for name, value in self.actor.state_dict().items()}


def _repeat(features: Tensor, count: int) -> Tensor:
    return features[:, None].expand(-1, count, -1)
