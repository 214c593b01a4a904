# SPDX-License-Identifier: Apache-2.0
"""EXPO's actor half: base candidates, an edit of each, and the arg max of a critic over both.

Legend: N candidates, C executed steps, A action dims, D = C * A, K knots, F features, H horizon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_policy.core.steering.networks import (
    MAX_LAYERS,
    EnsembleCritic,
    ScaledTanhNormal,
    Scaler,
    knots_over,
    mlp,
    mlp_size,
)
from vla_policy.core.steering.scoring import Reduce, Scoring


@dataclass(frozen=True)
class ExpoActorConfig:
    """Everything that the shapes of the weights and the meaning of their outputs follow from, and how to act on them.

    Attributes:
        features: F.
        steps: C.
        action_dim: A.
        members: critics.
        subset: critics whose minimum is taken by `Reduce.SUBSET`.
        hidden: widths of a critic.
        bounded: values are in [0, 1].
        deviations: k of `Reduce.LOWER`.
        edit: whether there is an edit policy.
        edit_scale: largest edit per action dimension, normalised units; one entry for all or A entries.
        edit_knots: K; an edit is K values per action dimension, interpolated over the steps.
        edit_hidden: widths of the edit policy.
        select: how the critics' values become one score, a value of `Reduce`.
        margin: an edited chunk must score higher than the best base candidate by this much.
        base_margin: another base candidate must score higher than the first by this much.
    """

    features: int
    steps: int = 8
    action_dim: int = 7
    members: int = 10
    subset: int = 2
    hidden: tuple[int, ...] = (256, 256)
    bounded: bool = True
    deviations: float = 1.0
    edit: bool = True
    edit_scale: tuple[float, ...] = (0.2,)
    edit_knots: int = 8
    edit_hidden: tuple[int, ...] = (256, 256)
    select: str = "subset"
    margin: float = 0.0
    base_margin: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        for name in ("features", "steps", "action_dim", "members"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        for name in ("hidden", "edit_hidden"):
            widths = getattr(self, name)
            if not 1 <= len(widths) <= MAX_LAYERS or min(widths) < 1:
                raise ValueError(f"{name} is {widths[:MAX_LAYERS]}, needs 1..{MAX_LAYERS} positive widths")
        if not 1 <= self.subset <= self.members:
            raise ValueError(f"subset is {self.subset}, allowed: 1..{self.members}")
        if len(self.edit_scale) not in (1, self.action_dim):
            raise ValueError(f"edit_scale has {len(self.edit_scale)} entries, allowed: 1 or {self.action_dim}")
        if not 1 <= self.edit_knots <= self.steps:
            raise ValueError(f"edit_knots is {self.edit_knots}, allowed: 1..{self.steps}")
        if not all(math.isfinite(s) and s > 0.0 for s in self.edit_scale):
            raise ValueError(f"edit_scale is {self.edit_scale}, must be finite and positive")
        for name in ("deviations", "margin", "base_margin"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}, must be finite")
        Reduce(self.select)

    @property
    def chunk_dim(self) -> int:
        """D."""
        return self.steps * self.action_dim

    def size(self) -> int:
        """Numbers in all weight matrices; what a file of weights has to hold at least."""
        inputs = self.features + self.chunk_dim
        edit = mlp_size(inputs, self.edit_hidden, 2 * self.edit_knots * self.action_dim)
        return self.members * mlp_size(inputs, self.hidden, 1) + edit

    def scale(self) -> Tensor:
        """Largest value of each knot, [K * A]."""
        return torch.tensor(self.edit_scale).expand(self.edit_knots, self.action_dim).reshape(-1).clone()

    def scoring(self) -> Scoring:
        """What the critics' outputs mean."""
        return Scoring(self.members, self.subset, self.bounded, self.deviations)


@dataclass(frozen=True)
class Rule:
    """How a choice is made of scores.

    Attributes:
        best_of: base candidates considered; 1 switches best-of-N off.
        select: how members are made into a score.
        margin: an edited chunk must score higher than the best base candidate by this much.
        base_margin: another base candidate must score higher than the first by this much.
    """

    best_of: int = 8
    select: Reduce = Reduce.SUBSET
    margin: float = 0.0
    base_margin: float = 0.0

    def best(self, scores: Tensor, count: int) -> int:
        """Index into scores, [count] base then [count] edited, or base alone."""
        base = int(scores[:count].argmax())
        if float(scores[base] - scores[0]) < self.base_margin:
            base = 0
        if len(scores) == count:
            return base
        edited = count + int(scores[count:].argmax())
        return edited if float(scores[edited] - scores[base]) > self.margin else base


@dataclass(frozen=True, eq=False)
class Pick:
    """What EXPO would play.

    Attributes:
        chunk: [H, A], normalised.
        candidate: base candidate it is or comes from.
        edited: whether the edit is in it.
        scores: [best_of] base then [best_of] edited, or base alone.
        index: place of the chosen chunk in the scores.
    """

    chunk: Tensor
    candidate: int
    edited: bool
    scores: Tensor
    index: int = 0


class EditPolicy(nn.Module):
    """A change of a base chunk: knots from a scaled squashed Gaussian, interpolated over the steps."""

    scale: Tensor
    basis: Tensor

    def __init__(self, config: ExpoActorConfig) -> None:
        """Starts with edits around zero."""
        super().__init__()
        self.shape = (config.edit_knots, config.action_dim)
        self.body = mlp(
            config.features + config.chunk_dim, config.edit_hidden, 2 * config.edit_knots * config.action_dim
        )
        last = self.body[-1]
        with torch.no_grad():
            last.weight.mul_(0.01)
            last.bias.zero_()
        # the bounds follow from the configuration, never from a file of weights
        self.register_buffer("scale", config.scale(), persistent=False)
        self.register_buffer("basis", knots_over(config.edit_knots, config.steps), persistent=False)

    def forward(self, features: Tensor, base: Tensor, share: float = 1.0) -> ScaledTanhNormal:
        """Features [..., F], base chunks [..., D]; `share` of the full edit scale."""
        mean, log_std = self.body(torch.cat([features, base], dim=-1)).chunk(2, dim=-1)
        return ScaledTanhNormal(mean, log_std, self.scale * share)

    def spread(self, knots: Tensor) -> Tensor:
        """Knots [..., K * A] -> edits [..., D]."""
        return torch.einsum("ck,...ka->...ca", self.basis, knots.unflatten(-1, self.shape)).flatten(-2)


class ExpoActor(nn.Module):
    """What acting needs: the critic that scores, the edit policy, and the scaler of the features.

    Args:
        config: Of all three.
        critic: The ensemble to score with; fresh by default.
        edit: The edit policy; fresh by default.
        scaler: Of the features; the identity by default.
    """

    def __init__(
        self,
        config: ExpoActorConfig,
        critic: EnsembleCritic | None = None,
        edit: EditPolicy | None = None,
        scaler: Scaler | None = None,
    ) -> None:
        super().__init__()
        self.config, self.scoring = config, config.scoring()
        fresh = critic or EnsembleCritic(config.members, config.features, config.chunk_dim, config.hidden)
        self.critic = fresh
        self.edit = edit or EditPolicy(config)
        self.scaler = scaler or Scaler(config.features)

    @torch.no_grad()
    def choose(
        self,
        features: Tensor,
        candidates: Tensor,
        generator: torch.Generator | None = None,
        *,
        rule: Rule,
        share: float = 1.0,
        explore: bool = False,
    ) -> Pick:
        """Picks among base and edited candidates.

        Args:
            features: [F].
            candidates: [N, H, A] of the base.
            generator: Of exploration.
            rule: How the scores decide.
            share: Of the edit scale that may be used.
            explore: Sample edits; else use them without noise.
        """
        config = self.config
        features = self.scaler(features)
        count = min(rule.best_of, len(candidates))
        base = candidates[:count, : config.steps].flatten(1)  # [n, D]
        choices = base
        if config.edit and share > 0.0:
            change = self.change(features.expand(count, -1), base, generator, share=share, explore=explore)
            choices = torch.cat([base, base + change])
        scores = self.scoring.score(self.critic, features[None], choices[None], rule.select, generator)[0]
        best = rule.best(scores, count)
        chunk = candidates[best % count].clone()
        if best >= count:
            edit = change[best - count].view(config.steps, config.action_dim)
            chunk[: config.steps] += edit
            chunk[config.steps :] += edit[-1]  # the tail is played only when the next chunk is late
        return Pick(chunk, best % count, best >= count, scores, best)

    @torch.no_grad()
    def change(
        self, features: Tensor, base: Tensor, generator: torch.Generator | None, *, share: float, explore: bool
    ) -> Tensor:
        """Edits [..., D] of base chunks [..., D] at scaled features [..., F]."""
        policy: ScaledTanhNormal = self.edit(features, base, share)
        return self.edit.spread(policy.sample(generator)[0] if explore else policy.mode())
