# SPDX-License-Identifier: Apache-2.0
"""Which moments of recorded episodes a VLA should imitate: what a person did, and what succeeded without one."""

from __future__ import annotations

import numpy as np

from rl_learner.core.dataset import Recorded
from rl_learner.core.records import Actor


def worth_imitating(recorded: Recorded, steps: int, stride: int) -> list[int]:
    """Frames from which on a success was done well, every `stride` frames.

    EXPO-FT fine-tunes the base on successes and corrections. A person's frames are all right; of the policy's, those
    that are followed by a takeover within `steps` are the very mistake that made the person come.

    Args:
        recorded: One episode.
        steps: Steps of a chunk that are executed before the next look.
        stride: Frames between two.
    """
    if not recorded.success:
        return []
    human = recorded.actors == Actor.HUMAN
    begins = np.flatnonzero(human[1:] & ~human[:-1]) + 1
    frames = np.arange(0, len(recorded), stride)
    refused = np.zeros(len(frames), bool)
    for begin in begins:
        refused |= (frames < begin) & (frames + steps > begin)
    moved = recorded.actors[frames] != Actor.HOLD
    return [int(frame) for frame in frames[moved & (human[frames] | ~refused)]]
