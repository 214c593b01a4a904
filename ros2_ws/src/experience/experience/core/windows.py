# SPDX-License-Identifier: Apache-2.0
"""Chunk windows over an episode: rewards, mask, validity, and the actions that were really executed.

For a window of C steps that starts at step i (Q-chunking, EXPO-FT) the learner computes, with its own discount gamma,

    R = sum over k < C of gamma^k r[i+k] * product over j < k of m[i+j]
    M = min over k < C of m[i+k]
    valid = no episode end among steps i .. i+C-2

and the critic learns R + gamma^C M Q'(s[i+C]). Here are the r[i+k] (0 after an end), M and valid: nothing that is
stored depends on gamma. The window's chunk is what was executed, also when a human took over in the middle.

Legend: T steps of an episode, C steps of a window, H horizon of a chunk, A action dims.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experience.core.records import EpisodeEventKind, Floats

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]

# One rule for every end that was judged: nothing is bootstrapped past it. A time-out is such an end too. With rewards
# of 0 and 1 that is harmless (a timed-out state is worth what it earned: nothing); it would not be with a cost per
# step, where failing fast would then look better than trying on. An abort is no judgement: its steps keep m = 1, and
# its windows need a decision to bootstrap from.
END_MASK = {
    EpisodeEventKind.SUCCEEDED: 0.0,
    EpisodeEventKind.FAILED: 0.0,
    EpisodeEventKind.TIMED_OUT: 0.0,
    EpisodeEventKind.ABORTED: 1.0,
}


@dataclass(frozen=True, eq=False)
class Labels:
    """Rewards, masks and ends, step by step; several episodes may follow one another.

    Attributes:
        rewards: (T,).
        masks: (T,) 0 at a judged end, else 1.
        ends: (T,) whether an episode ends with the step, however it ends; the last step always does.
    """

    rewards: Doubles
    masks: Doubles
    ends: Flags

    def __post_init__(self) -> None:
        """Refuse labels that contradict each other.

        Raises:
            ValueError: Lengths differ, a reward is not finite, or the last step is no end.
        """
        if not self.rewards.shape == self.masks.shape == self.ends.shape or self.rewards.ndim != 1:
            raise ValueError(f"shapes {self.rewards.shape}, {self.masks.shape}, {self.ends.shape} differ")
        if not np.isfinite(self.rewards).all():
            raise ValueError("a reward is not finite")
        if self.ends.size and not self.ends[-1]:
            raise ValueError("the last step must end an episode")


def episode_labels(rewards: Doubles, outcome: EpisodeEventKind) -> Labels:
    """Labels of one episode.

    Args:
        rewards: (T,).
        outcome: How it ended; decides the last mask by END_MASK.
    """
    masks, ends = np.ones(len(rewards)), np.zeros(len(rewards), dtype=bool)
    if len(rewards):
        masks[-1], ends[-1] = END_MASK[outcome], True
    return Labels(np.asarray(rewards, dtype=np.float64), masks, ends)


def concatenate(episodes: list[Labels]) -> Labels:
    """Episodes one after another, as a step-level replay holds them."""
    return Labels(*(np.concatenate([getattr(e, name) for e in episodes]) for name in ("rewards", "masks", "ends")))


@dataclass(frozen=True, eq=False)
class ChunkWindow:
    """What a critic learns from a window.

    Attributes:
        rewards: (C,) of its steps, 0 after an end; shorter where the data end.
        mask: M.
        valid: Whether no episode ended before the window's last step.
    """

    rewards: Doubles
    mask: float
    valid: bool


def window(labels: Labels, start: int, steps: int) -> ChunkWindow:
    """Window of `steps` steps from `start`.

    Steps past the end of the data count as steps past the end of an episode: no reward, and not valid.

    Raises:
        ValueError: The window is empty or starts outside the data.
    """
    if steps < 1 or not 0 <= start < len(labels.rewards):
        raise ValueError(f"no window of {steps} steps at {start} of {len(labels.rewards)}")
    inside = slice(start, start + steps)
    rewards, masks, ends = labels.rewards[inside], labels.masks[inside], labels.ends[inside]
    # alive[k]: product of the masks before step k.
    alive = np.concatenate([[1.0], np.cumprod(masks)[:-1]])
    valid = len(rewards) == steps and not bool(ends[:-1].any())
    return ChunkWindow(rewards * alive, float(masks.min()), valid)


def window_rows(start: int, horizon: int, steps: int) -> NDArray[np.int64]:
    """(H,) indices of the steps whose commands make up the chunk of a window.

    The tail behind the window is filled with what was executed later; past the end of the episode the last step is
    repeated.

    Args:
        start: First step of the window.
        horizon: H.
        steps: T, steps of the episode.
    """
    return np.minimum(np.arange(start, start + horizon), steps - 1)


def normalised(actions: Doubles, scale: tuple[float, ...], offset: tuple[float, ...]) -> Floats:
    """(..., A) physical units to the units of the policy; not clipped."""
    return np.asarray((actions - np.asarray(offset)) / np.asarray(scale), dtype=np.float32)
