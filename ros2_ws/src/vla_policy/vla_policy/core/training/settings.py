# SPDX-License-Identifier: Apache-2.0
"""Settings of trainings; without torch, so that a command line can show them at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

SCOPES = ("expert", "whole")
NORMALISATIONS = ("base", "zscore", "quantile")


@dataclass(frozen=True)
class LoopConfig:
    """Optimiser and schedule: AdamW, linear warm-up, cosine to a floor.

    Attributes:
        steps: length of the schedule.
        learning_rate: peak.
        warmup_steps: linear rise.
        final_share: learning rate at the end, as a share of the peak.
        weight_decay: of AdamW.
        betas: of AdamW.
        clip_norm: of the gradient.
        ema_decay: of the averaged weights, 0 for none: then the averaged weights are the newest.
    """

    steps: int
    learning_rate: float
    warmup_steps: int = 0
    final_share: float = 0.0
    weight_decay: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 1.0
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, must be at least 1")
        if not 0.0 < self.learning_rate <= 1.0:
            raise ValueError(f"learning_rate is {self.learning_rate}, allowed: above 0, at most 1")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay is {self.ema_decay}, allowed: 0 for none, below 1")

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then cosine."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = min(1.0, (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps))
        floor = self.learning_rate * self.final_share
        return floor + (self.learning_rate - floor) * 0.5 * (1.0 + math.cos(math.pi * done))


def _check_counts(settings: object, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} is {getattr(settings, name)}, must be at least 1")


def _check_held_out(share: float) -> None:
    if not 0.0 <= share <= 0.9:
        raise ValueError(f"held_out is {share}, allowed: 0 to 0.9")


@dataclass(frozen=True)
class SftConfig:
    """Hyperparameters of a fine-tuning.

    Attributes:
        steps: optimiser steps.
        batch: windows per step, of all processes together.
        noises: noises per window.
        learning_rate: peak; it rises over `warmup_share` of the steps and falls to `final_share` of the peak.
        warmup_share: 0 to 1.
        final_share: 0 to 1.
        weight_decay: of AdamW.
        clip_norm: of the gradient.
        ema_decay: of the averaged weights that are written, 0 for the newest ones.
        scope: `expert` trains the action expert behind frozen eyes and words, `whole` everything.
        lora: rank of low-rank adapters in place of the weights themselves, 0 for none.
        average: fine-tunings, each with a seed of its own, whose mean is written (Wortsman et al. 2022).
        save_every: steps between two checkpoints.
        seed: of everything.
    """

    steps: int = 2000
    batch: int = 32
    noises: int = 2
    learning_rate: float = 5e-4
    warmup_share: float = 0.1
    final_share: float = 0.0
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    ema_decay: float = 0.99
    scope: str = "expert"
    lora: int = 0
    average: int = 1
    save_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        _check_counts(self, "steps", "batch", "noises", "average", "save_every")
        for name in ("warmup_share", "final_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: 0 to 1")
        if not 0 <= self.lora <= 1024:
            raise ValueError(f"lora is {self.lora}, allowed: 0 for none, to 1024")
        if self.lora and self.average > 1:
            raise ValueError(
                f"average is {self.average}, allowed with lora: 1, as a mean of adapters is no mean of weights"
            )
        if self.scope not in SCOPES:
            raise ValueError(f"scope is {self.scope!r}, allowed: {SCOPES}")
        _ = self.loop

    @property
    def loop(self) -> LoopConfig:
        """What the shared loop must know of it."""
        return LoopConfig(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup_steps=round(self.warmup_share * self.steps),
            final_share=self.final_share,
            weight_decay=self.weight_decay,
            betas=(0.9, 0.999),
            clip_norm=self.clip_norm,
            ema_decay=self.ema_decay,
        )


@dataclass(frozen=True)
class DataConfig:
    """How datasets become windows.

    Attributes:
        held_out: Share of the episodes that are put aside for the held-out loss.
        normalise: `base` keeps the statistics of the model that is begun with, which its other half was trained on and
            served policies agree on; `zscore` and `quantile` (1 % to 99 % become -1 to 1) take them from the datasets.
        clip: Normalised labels are cut to plus and minus this, so that a dimension that hardly moves cannot outweigh
            all others.
        seed: Of which episodes are put aside.
    """

    held_out: float = 0.0
    normalise: str = "base"
    clip: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        _check_held_out(self.held_out)
        if self.normalise not in NORMALISATIONS:
            raise ValueError(f"normalise is {self.normalise!r}, allowed: {', '.join(NORMALISATIONS)}")
        if not 1.0 <= self.clip < float("inf"):
            raise ValueError(f"clip is {self.clip}, allowed: finite, 1 or more")


@dataclass(frozen=True)
class TokenConfig:
    """Hyperparameters of an RL token (RLT, stage 1).

    Attributes:
        steps: optimiser steps.
        batch: observations per step.
        learning_rate: peak of a cosine without warm-up.
        teacher_share: share of the embeddings that the decoder is shown; the rest it must know from the token.
        save_every: steps between two checkpoints.
        seed: of everything.
    """

    steps: int = 1000
    batch: int = 32
    learning_rate: float = 1e-3
    teacher_share: float = 0.5
    save_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        _check_counts(self, "batch", "save_every")
        if not 0.0 <= self.teacher_share <= 1.0:
            raise ValueError(f"teacher_share is {self.teacher_share}, allowed: 0 to 1")
        _ = self.loop

    @property
    def loop(self) -> LoopConfig:
        """What the shared loop must know of it."""
        return LoopConfig(
            steps=self.steps,
            learning_rate=self.learning_rate,
            final_share=0.02,
            weight_decay=1e-4,
            betas=(0.9, 0.999),
        )


@dataclass(frozen=True)
class FrameConfig:
    """Which frames of recordings a frozen VLA looks at.

    Attributes:
        stride: Frames between two; neighbours are almost the same.
        held_out: Share of the episodes that are put aside for the held-out loss.
        disk_gb: What their embeddings may take on disk; with more frames, the stride grows.
        seed: Of which episodes are put aside.
    """

    stride: int = 2
    held_out: float = 0.1
    disk_gb: float = 16.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        if not 1 <= self.stride <= 1000:
            raise ValueError(f"stride is {self.stride}, allowed: 1 to 1000")
        _check_held_out(self.held_out)
        if not 0.0 < self.disk_gb < float("inf"):
            raise ValueError(f"disk_gb is {self.disk_gb}, allowed: finite, above 0")
