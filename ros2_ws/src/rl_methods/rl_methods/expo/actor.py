# SPDX-License-Identifier: Apache-2.0
"""EXPO's actor half: base candidates, an edit of each, and the arg max of a critic over both.

Legend: N candidates, C executed steps, A action dims, D = C * A, K knots, F features, H horizon, P proprioception,
V cameras, S side of an image, Z state: what critic and edit policy read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rl_methods.common.encoder import EncoderConfig, ImageEncoder
from rl_methods.common.networks import MAX_LAYERS, EnsembleCritic, ScaledTanhNormal, Scaler, mlp_size
from rl_methods.common.residual import ResidualPolicy, bound_over, changed, check_bound
from rl_methods.common.scoring import Reduce, Scoring


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
        edit_scale: largest edit per action dimension, normalised units; see `bound_over`.
        edit_knots: K; an edit is K values per action dimension, interpolated over the steps.
        edit_hidden: widths of the edit policy.
        select: how the critics' values become one score, a value of `Reduce`.
        margin: an edited chunk must score higher than the best base candidate by this much.
        base_margin: another base candidate must score higher than the first by this much.
        cameras: V of an image encoder of its own, 0 reads the VLA's features.
        proprio: P that is read beside the images.
        image_size: S (px).
        encoder_maps: feature maps per layer.
        encoder_outputs: numbers that the encoder gives.
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
    cameras: int = 0
    proprio: int = 0
    image_size: int = 48
    encoder_maps: int = 16
    encoder_outputs: int = 64

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
        check_bound("edit_scale", self.edit_scale, self.action_dim)
        if not 1 <= self.edit_knots <= self.steps:
            raise ValueError(f"edit_knots is {self.edit_knots}, allowed: 1..{self.steps}")
        for name in ("deviations", "margin", "base_margin"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}, must be finite")
        if self.proprio < 0:
            raise ValueError(f"proprio is {self.proprio}, must be at least 0")
        Reduce(self.select)
        self.encoder()

    def encoder(self) -> EncoderConfig:
        """Of its own eyes."""
        return EncoderConfig(self.cameras, self.image_size, self.encoder_maps, self.encoder_outputs)

    @property
    def state(self) -> int:
        """Z."""
        return self.encoder_outputs + self.proprio if self.cameras else self.features

    @property
    def chunk_dim(self) -> int:
        """D."""
        return self.steps * self.action_dim

    def size(self) -> int:
        """Numbers in all weight matrices; what a file of weights has to hold at least."""
        inputs = self.state + self.chunk_dim
        edit = mlp_size(inputs, self.edit_hidden, 2 * self.edit_knots * self.action_dim)
        return self.members * mlp_size(inputs, self.hidden, 1) + edit + self.encoder().size()

    def scale(self) -> Tensor:
        """Largest value of each knot, [K * A]."""
        return bound_over(self.edit_scale, self.edit_knots, self.action_dim)

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


class EditPolicy(ResidualPolicy):
    """The residual policy of a configuration."""

    def __init__(self, config: ExpoActorConfig) -> None:
        """Starts with edits around zero."""
        super().__init__(
            config.state, config.steps, config.action_dim, knots=config.edit_knots, bound=config.edit_scale,
            hidden=config.edit_hidden,
        )  # fmt: skip


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
        self.critic = critic or EnsembleCritic(config.members, config.state, config.chunk_dim, config.hidden)
        self.edit = edit or EditPolicy(config)
        self.scaler = scaler or Scaler(config.features)
        self.encoder = ImageEncoder(config.encoder())
        if config.cameras:
            self.proprio_scaler = Scaler(config.proprio)

    def state(self, features: Tensor, proprio: Tensor, images: Tensor) -> Tensor:
        """Z [B, Z] of features [B, F], or of proprioception [B, P] and images uint8 [B, V, S, S, 3]."""
        if not self.config.cameras:
            return self.scaler(features)  # type: ignore[no-any-return]
        return torch.cat([self.encoder(images), self.proprio_scaler(proprio)], -1)

    @torch.no_grad()
    def choose(
        self,
        state: Tensor,
        candidates: Tensor,
        generator: torch.Generator | None = None,
        *,
        rule: Rule,
        share: float = 1.0,
        explore: bool = False,
    ) -> Pick:
        """Picks among base and edited candidates.

        Args:
            state: [Z], see `state`.
            candidates: [N, H, A] of the base.
            generator: Of exploration.
            rule: How the scores decide.
            share: Of the edit scale that may be used.
            explore: Sample edits; else use them without noise.
        """
        config = self.config
        count = min(rule.best_of, len(candidates))
        base = candidates[:count, : config.steps].flatten(1)  # [n, D]
        choices = base
        if config.edit and share > 0.0:
            change = self.change(state.expand(count, -1), base, generator, share=share, explore=explore)
            choices = torch.cat([base, base + change])
        scores = self.scoring.score(self.critic, state[None], choices[None], rule.select, generator)[0]
        best = rule.best(scores, count)
        chunk = candidates[best % count].clone()
        if best >= count:
            chunk = changed(chunk, change[best - count].view(config.steps, config.action_dim))
        return Pick(chunk, best % count, best >= count, scores, best)

    @torch.no_grad()
    def change(
        self, state: Tensor, base: Tensor, generator: torch.Generator | None, *, share: float, explore: bool
    ) -> Tensor:
        """Edits [..., D] of base chunks [..., D] at states [..., Z]."""
        policy: ScaledTanhNormal = self.edit(state, base, share)
        return self.edit.spread(policy.sample(generator)[0] if explore else policy.mode())
