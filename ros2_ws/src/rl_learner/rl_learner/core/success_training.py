# SPDX-License-Identifier: Apache-2.0
"""Trains a success classifier on marked frames: balanced binary cross-entropy, shifted images (HIL-SERL, section 3.2).

Legend: B frames, K cameras, S side of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from rl_methods.common.encoder import random_shift
from rl_methods.common.success_classifier import SuccessClassifier, SuccessClassifierConfig

LEAST_FRAMES = 10  # of each class


@dataclass(frozen=True, eq=False)
class MarkedFrames:
    """Frames with a mark each.

    Attributes:
        images: uint8 [B, K, S, S, 3].
        success: bool [B].
        episode: int64 [B] episode that it is of; frames of one are alike, so they are held out together.
    """

    images: NDArray[np.uint8]
    success: NDArray[np.bool_]
    episode: NDArray[np.int64]

    def check(self) -> None:
        """Refuse what teaches nothing.

        Raises:
            ValueError: There are hardly any frames of one class.
        """
        good, bad = int(self.success.sum()), int((~self.success).sum())
        for name, count, advice in (
            ("success", good, "record episodes that succeed, or mark more frames at their ends"),
            ("no success", bad, "record longer episodes, or some that fail"),
        ):
            if count < LEAST_FRAMES:
                raise ValueError(f"{count} frames show {name}, needed are {LEAST_FRAMES} of each class: {advice}")

    def rows(self, index: NDArray[np.int64]) -> MarkedFrames:
        """Some of them."""
        return MarkedFrames(self.images[index], self.success[index], self.episode[index])


@dataclass(frozen=True)
class SuccessTraining:
    """How it is trained.

    Attributes:
        steps: Of the optimiser.
        batch: Frames per step, half of each class.
        learning_rate: Of Adam.
        shift: Largest random shift of an image (px).
        held_out: Share of the episodes that is only measured on.
        seed: Of weights and draws.
    """

    steps: int = 400
    batch: int = 32
    learning_rate: float = 1e-3
    shift: int = 4
    held_out: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class Rates:
    """How often it is right on frames of episodes that it was not trained on.

    Attributes:
        found: Of the frames that show success.
        believed: Of the others, taken for success.
        frames: How many were measured; 0 when no episode could be held out, and both rates are NaN.
    """

    found: float
    believed: float
    frames: int


def train_classifier(
    frames: MarkedFrames, config: SuccessClassifierConfig, how: SuccessTraining, threshold: float,
    report: Callable[[int, float], None] = lambda _step, _loss: None,
) -> tuple[SuccessClassifier, Rates]:  # fmt: skip
    """A classifier, and how often it is right at a threshold on what was held out.

    Raises:
        ValueError: There are hardly any frames of one class.
    """
    frames.check()
    torch.manual_seed(how.seed)
    rng, random = np.random.default_rng(how.seed), torch.Generator().manual_seed(how.seed)
    learn, held = _split(frames, how.held_out, rng)
    classifier = SuccessClassifier(config)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=how.learning_rate)
    images = torch.from_numpy(learn.images)
    classes = [np.flatnonzero(learn.success), np.flatnonzero(~learn.success)]
    half = how.batch // 2
    marks = torch.cat([torch.ones(half), torch.zeros(half)])
    for step in range(how.steps):
        index = torch.from_numpy(np.concatenate([rng.choice(rows, half) for rows in classes]))
        loss = F.binary_cross_entropy_with_logits(classifier(random_shift(images[index], how.shift, random)), marks)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        report(step + 1, float(loss.detach()))
    classifier.eval().requires_grad_(requires_grad=False)
    return classifier, _rates(classifier, held, threshold)


def _split(frames: MarkedFrames, share: float, rng: np.random.Generator) -> tuple[MarkedFrames, MarkedFrames]:
    """Frames to learn from, and those of held-out episodes; none where either class would be lost."""
    episodes = rng.permutation(np.unique(frames.episode))
    is_held = np.isin(frames.episode, episodes[: round(share * len(episodes))])
    kept = frames.success[~is_held]
    if not is_held.any() or min(kept.sum(), (~kept).sum()) < LEAST_FRAMES:
        is_held = np.zeros(len(frames.success), dtype=np.bool_)
    return frames.rows(np.flatnonzero(~is_held)), frames.rows(np.flatnonzero(is_held))


def _rates(classifier: SuccessClassifier, frames: MarkedFrames, threshold: float) -> Rates:
    if not len(frames.success):
        return Rates(float("nan"), float("nan"), 0)
    with torch.no_grad():
        logits = [classifier(torch.from_numpy(frames.images[i : i + 64])) for i in range(0, len(frames.success), 64)]
    said = (torch.sigmoid(torch.cat(logits)) >= threshold).numpy()
    found, believed = said[frames.success], said[~frames.success]
    return Rates(_mean(found), _mean(believed), len(said))


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")
