# SPDX-License-Identifier: Apache-2.0
"""Which moments of recorded episodes a VLA should imitate: what a person did, and what succeeded without one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from rl_learner.core.dataset import Recorded
from rl_learner.core.records import Actor


def worth_imitating(recorded: Recorded, executed: int, stride: int) -> list[int]:
    """Frames from which on a success was done well.

    EXPO-FT fine-tunes the base on successes and corrections. A person's frames are all right, every `stride` of them.
    The policy's are one per chunk that it played: more of them outweigh the person's and teach it what it does
    already. Those that are followed by a takeover within a chunk are the very mistake that made the person come.

    Args:
        recorded: One episode.
        executed: Steps of a chunk that are executed before the next look.
        stride: Frames between two of a person's.
    """
    if not recorded.success:
        return []
    actors = recorded.actors
    takeovers = np.flatnonzero((actors[1:] == Actor.HUMAN) & (actors[:-1] != Actor.HUMAN)) + 1
    changes = (np.flatnonzero(np.diff(actors)) + 1).tolist()
    frames: list[int] = []
    for begin, end in pairwise([0, *changes, len(recorded)]):
        if actors[begin] == Actor.HUMAN:
            frames += range(begin, end, stride)
        elif actors[begin] == Actor.POLICY:
            played = range(begin, end, executed)
            frames += [frame for frame in played if not np.any((takeovers > frame) & (takeovers < frame + executed))]
    return frames
