# SPDX-License-Identifier: Apache-2.0
"""Which moments of recorded episodes a VLA imitates: who acted, how it ended, and what led to a takeover."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rl_methods.base import EpisodeLabels, Sample
from whetstone_common.core.enums import Actor


@dataclass(frozen=True)
class ImitationRule:
    """How frames are picked.

    Attributes:
        human_stride: Frames between two of an operator's; 0 for none of them.
        policy_stride: Frames between two of the policy's; 0 for none of them. One per chunk that was played is
            enough: more of them outweigh the operator's and teach the policy what it does already.
        execute_steps: C. A frame of the policy's is left out if a takeover follows within so many steps: it is the
            very mistake that made the operator come.
        only_successes: Leave out episodes that did not succeed.
        idle_rad: Leave out an operator's frame from which on nothing moves by more than this (rad or opening) within
            `execute_steps`; 0 keeps them all.
        human_weight: How much an operator's frame counts beside one of the policy's.
    """

    human_stride: int = 1
    policy_stride: int = 1
    execute_steps: int = 8
    only_successes: bool = True
    idle_rad: float = 0.0
    human_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what picks nothing.

        Raises:
            ValueError: With name, value and range.
        """
        for name in ("human_stride", "policy_stride"):
            if not 0 <= getattr(self, name) <= 1000:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: 0 for none, to 1000")
        if not 1 <= self.execute_steps <= 1000:
            raise ValueError(f"execute_steps is {self.execute_steps}, allowed: 1 to 1000")
        if not (math.isfinite(self.idle_rad) and self.idle_rad >= 0.0):
            raise ValueError(f"idle_rad is {self.idle_rad}, allowed: finite, 0 or more")
        if not (math.isfinite(self.human_weight) and self.human_weight > 0.0):
            raise ValueError(f"human_weight is {self.human_weight}, allowed: finite, above 0")


def select_imitation_frames(episode: EpisodeLabels, rule: ImitationRule) -> list[Sample]:
    """Frames of an episode that are imitated, in order."""
    if rule.only_successes and not episode.success:
        return []
    actors = episode.actors
    takeovers = np.flatnonzero((actors[1:] == Actor.HUMAN) & (actors[:-1] != Actor.HUMAN)) + 1
    changes = (np.flatnonzero(np.diff(actors)) + 1).tolist()
    samples: list[Sample] = []
    for begin, end in pairwise([0, *changes, len(episode)]):
        if actors[begin] == Actor.HUMAN and rule.human_stride:
            frames = [f for f in range(begin, end, rule.human_stride) if not _is_idle(episode, f, rule)]
            samples += [Sample(frame, rule.human_weight) for frame in frames]
        elif actors[begin] == Actor.POLICY and rule.policy_stride:
            played = range(begin, end, rule.policy_stride)
            samples += [Sample(frame) for frame in played if not _leads_to(takeovers, frame, rule.execute_steps)]
    return samples


def _leads_to(takeovers: np.ndarray, frame: int, steps: int) -> bool:
    return bool(np.any((takeovers > frame) & (takeovers < frame + steps)))


def _is_idle(episode: EpisodeLabels, frame: int, rule: ImitationRule) -> bool:
    if rule.idle_rad == 0.0:
        return False
    moved = np.abs(episode.states[frame : frame + rule.execute_steps + 1] - episode.states[frame])
    return bool(moved.max() <= rule.idle_rad)
