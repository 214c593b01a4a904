# SPDX-License-Identifier: Apache-2.0
"""Which frames count as better than usual: a threshold per task on the advantage, and the words that say so.

The threshold is a percentile of the *advantages*. One of the values is on another scale, and makes every frame alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rl_methods.recap.returns import Doubles, EpisodeOutcome

POSITIVE, NEGATIVE = "Advantage: positive", "Advantage: negative"
INDICATOR_WORDS = ("advantage", "positive", "negative")


def prompt(instruction: str, *, is_positive: bool) -> str:
    """Instruction with its indicator behind it, so that it is read before any action."""
    return f"{instruction} {POSITIVE if is_positive else NEGATIVE}"


@dataclass(frozen=True)
class TaskLabels:
    """What became of a task's frames.

    Attributes:
        threshold: Smallest advantage that is not positive; NaN when no frame of the task is the policy's.
        policy_frames: Frames that the policy commanded.
        policy_positive: Share of them that are positive.
        human_frames: Frames that a person commanded; all are positive.
        positive: Share of all frames that are positive.
    """

    threshold: float
    policy_frames: int
    policy_positive: float
    human_frames: int
    positive: float


def thresholds(advantages: Mapping[str, Doubles], positive_share: float) -> dict[str, float]:
    """Threshold of each task, above which the wanted share of its advantages lies.

    Raises:
        ValueError: A task has no advantage, or one that is not finite.
    """
    found = {}
    for task, values in advantages.items():
        if len(values) == 0:
            raise ValueError(f"task {task!r} has no frame of the policy to take a threshold from")
        if not np.isfinite(values).all():
            raise ValueError(f"an advantage of task {task!r} is not finite")
        found[task] = float(np.quantile(values, 1.0 - positive_share))
    return found


def label(
    outcomes: Sequence[EpisodeOutcome], advantages: Sequence[Doubles], chosen: Sequence[NDArray[np.bool_]], share: float
) -> tuple[list[NDArray[np.bool_]], dict[str, TaskLabels]]:
    """Say of every frame whether it is positive, and count.

    Corrections and demonstrations are positive whatever their advantage.

    Args:
        outcomes: Of E episodes.
        advantages: [T] of each.
        chosen: bool [T] of each, the frames that are trained on; others take no part in thresholds and counts.
        share: Of the policy's frames that shall be positive.

    Raises:
        ValueError: An advantage is not finite.
    """
    ours = [pick & ~outcome.human for outcome, pick in zip(outcomes, chosen, strict=True)]
    pooled: dict[str, list[Doubles]] = {}
    for outcome, values, mine in zip(outcomes, advantages, ours, strict=True):
        pooled.setdefault(outcome.task, []).append(values[mine])
    merged = {task: np.concatenate(parts) for task, parts in pooled.items()}
    levels = thresholds({task: values for task, values in merged.items() if len(values)}, share)
    positive = [
        outcome.human | (values > levels.get(outcome.task, np.inf))
        for outcome, values in zip(outcomes, advantages, strict=True)
    ]
    counts = {task: _counted(task, levels, outcomes, positive, chosen) for task in sorted(merged)}
    return positive, counts


def _counted(
    task: str,
    levels: Mapping[str, float],
    outcomes: Sequence[EpisodeOutcome],
    positive: Sequence[NDArray[np.bool_]],
    chosen: Sequence[NDArray[np.bool_]],
) -> TaskLabels:
    rows = [(o.human[c], p[c]) for o, p, c in zip(outcomes, positive, chosen, strict=True) if o.task == task]
    human, good = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return TaskLabels(
        threshold=levels.get(task, float("nan")),
        policy_frames=int((~human).sum()),
        policy_positive=float(good[~human].mean()) if (~human).any() else 0.0,
        human_frames=int(human.sum()),
        positive=float(good.mean()) if len(good) else 0.0,
    )


def check_outcomes(outcomes: Sequence[EpisodeOutcome]) -> None:
    """Refuse data from which no advantage can be learnt.

    Raises:
        ValueError: No episode, no success, or no failure and no takeover; the text says what to do.
    """
    if not outcomes:
        raise ValueError("no episode: nothing to learn from")
    segments = [success for outcome in outcomes for _, _, success in outcome.segments]
    if not any(segments):
        raise ValueError(
            f"none of {len(outcomes)} episodes succeeded: a value function needs both outcomes; "
            "add demonstrations, or episodes with a person's help"
        )
    if all(segments):
        raise ValueError(
            f"all of {len(outcomes)} episodes succeeded and no one took over: a value function needs both outcomes; "
            "add episodes of the policy with its failures"
        )
