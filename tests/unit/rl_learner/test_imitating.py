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
        ("hhhh", 3, [0, 3]),
        ("pppppp", 2, [0, 4]),
        ("pppppppphhhhpppp", 1, [0, 4, 8, 9, 10, 11, 12]),
        ("ppppppphhhhpppp", 1, [0, 7, 8, 9, 10, 11]),
        ("ppppppp.hhh", 1, [0, 4, 8, 9, 10]),
        ("pppppp.hhh", 1, [0, 7, 8, 9]),
        ("pppphhpppphh", 2, [0, 4, 6, 10]),
        ("..ppppp", 1, [2, 6]),
    ],
)
def test_when_an_episode_succeeded_expect_all_but_what_led_to_a_takeover(actors, stride, frames):
    assert worth_imitating(recorded(actors), executed=4, stride=stride) == frames


def test_when_an_episode_failed_expect_nothing():
    assert worth_imitating(recorded("pphhpp", success=False), executed=4, stride=1) == []
