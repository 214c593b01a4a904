# SPDX-License-Identifier: Apache-2.0
"""Monte-Carlo returns and N-step advantages of recorded episodes (RECAP, sections III and V, appendix F).

A step costs 1, the last step of a success nothing, that of a failure C_fail; a time-out is a failure. Returns are
divided by the task's maximum length and cut off at -1, so that they lie in [-1, 0]: minus the time to success.

Legend: T frames of an episode, L maximum length of its task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EpisodeOutcome:
    """What is known of an episode before anything is learnt.

    Attributes:
        task: Name of the task; thresholds and lengths are per task.
        success: How it ended; an episode whose time ran out is none.
        human: bool [T], frames that a person commanded.
    """

    task: str
    success: bool
    human: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Refuse an episode without a frame.

        Raises:
            ValueError: There is none.
        """
        if self.human.ndim != 1 or len(self.human) == 0:
            raise ValueError(f"human has shape {self.human.shape}, expected one flag for each of 1 or more frames")

    def __len__(self) -> int:
        """T."""
        return len(self.human)

    @property
    def is_demonstration(self) -> bool:
        """Whether a person drove from end to end."""
        return bool(self.human.all())

    @property
    def segments(self) -> tuple[tuple[int, int, bool], ...]:
        """First frame, end and success of its parts.

        A person takes over because the policy was about to fail: what it did alone before the first human frame is an
        episode of its own that failed, else it would inherit the success that the person brought about.
        """
        first = int(np.argmax(self.human)) if self.human.any() else 0
        if first == 0:
            return ((0, len(self), self.success),)
        return ((0, first, False), (first, len(self), self.success))


def step_rewards(length: int, *, success: bool, failure_cost: float, max_length: int) -> Doubles:
    """[T] rewards of a segment, in units of the task's maximum length.

    Args:
        length: T.
        success: How the segment ended.
        failure_cost: C_fail, in units of the maximum length.
        max_length: L.

    Raises:
        ValueError: A number that cannot work.
    """
    if length < 1 or max_length < 1:
        raise ValueError(f"length is {length} and max_length {max_length}, both must be at least 1")
    if not (np.isfinite(failure_cost) and failure_cost > 0.0):
        raise ValueError(f"failure_cost is {failure_cost}, must be finite and positive")
    rewards = np.full(length, -1.0 / max_length)
    rewards[-1] = 0.0 if success else -failure_cost
    return rewards


def returns_of(outcome: EpisodeOutcome, failure_cost: float, max_length: int) -> Doubles:
    """[T] undiscounted returns of an episode's frames, each of its own segment, in [-1, 0]."""
    parts = []
    for begin, end, success in outcome.segments:
        rewards = step_rewards(end - begin, success=success, failure_cost=failure_cost, max_length=max_length)
        parts.append(_clipped(np.cumsum(rewards[::-1])[::-1]))
    return np.concatenate(parts)


def advantages_of(
    outcome: EpisodeOutcome, values: Doubles, n_step: int, failure_cost: float, max_length: int
) -> Doubles:
    """[T] A_t = sum of N rewards + V(o_{t+N}) - V(o_t); near a segment's end its return in place of the first two.

    Args:
        outcome: The episode.
        values: [T] V(o_t).
        n_step: N.
        failure_cost: C_fail, in units of the maximum length.
        max_length: L.

    Raises:
        ValueError: The values are not finite, or not as many as frames.
    """
    if values.shape != (len(outcome),):
        raise ValueError(f"values have shape {values.shape}, expected ({len(outcome)},)")
    if not np.isfinite(values).all():
        raise ValueError(f"the value of frame {int(np.argmin(np.isfinite(values)))} is not finite")
    if n_step < 1:
        raise ValueError(f"n_step is {n_step}, must be at least 1")
    parts = []
    for begin, end, success in outcome.segments:
        own = values[begin:end]
        rewards = step_rewards(end - begin, success=success, failure_cost=failure_cost, max_length=max_length)
        target = _clipped(np.cumsum(rewards[::-1])[::-1])
        inside = max(0, end - begin - n_step)  # frames whose N steps end before the segment does
        target[:inside] = own[n_step:] - n_step / max_length if inside else target[:0]
        parts.append(target - own)
    return np.concatenate(parts)


def _clipped(returns: Doubles) -> Doubles:
    return np.clip(returns, -1.0, 0.0)
