# SPDX-License-Identifier: Apache-2.0
"""What a VLA should imitate of an episode: successes and corrections, never the mistake that called for one."""

from __future__ import annotations

import numpy as np
import pytest

from rl_learner.core.dataset import Recorded
from rl_learner.core.imitating import worth_imitating
from rl_learner.core.records import Actor


def recorded(actors: str, *, success: bool = True) -> Recorded:
    codes = {"p": Actor.POLICY, "h": Actor.HUMAN, ".": Actor.HOLD}
    count = len(actors)
    states = np.zeros((count, 3))
    return Recorded("", success, states, states, None, np.array([codes[c] for c in actors], np.uint8), {})


@pytest.mark.parametrize(
    ("actors", "stride", "frames"),
    [
        ("hhhhhh", 2, [0, 2, 4]),
        ("pppppp", 2, [0, 2, 4]),
        ("pppppppphhhhpppp", 1, [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15]),
        ("pppphhpppphh", 1, [0, 4, 5, 6, 10, 11]),
        ("..pp", 1, [2, 3]),
        ("hhhh", 3, [0, 3]),
    ],
)
def test_when_an_episode_succeeded_expect_all_but_what_led_to_a_takeover(actors, stride, frames):
    assert worth_imitating(recorded(actors), steps=4, stride=stride) == frames


def test_when_an_episode_failed_expect_nothing():
    assert worth_imitating(recorded("pphhpp", success=False), steps=4, stride=1) == []
