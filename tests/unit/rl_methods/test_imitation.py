# SPDX-License-Identifier: Apache-2.0
"""What a VLA should imitate of an episode: successes and corrections, never the mistake that called for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experience.core.dataset import DatasetEpisode
from rl_methods.common.imitation import ImitationRule, select_imitation_frames
from rl_methods.dagger.training import Dagger
from rl_methods.sft.training import Sft, SftSettings
from whetstone_common.core.enums import Actor


def recorded(actors: str, *, success: bool = True) -> DatasetEpisode:
    codes = {"p": Actor.POLICY, "h": Actor.HUMAN, ".": Actor.HOLD}
    count = len(actors)
    states = np.zeros((count, 3))
    return DatasetEpisode("", success, states, states, None, np.array([codes[c] for c in actors], np.uint8), {})


def picked(episode: DatasetEpisode, rule: ImitationRule) -> list[int]:
    return [sample.frame for sample in select_imitation_frames(episode, rule)]


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
    assert picked(recorded(actors), ImitationRule(stride, 4, 4)) == frames


def test_when_an_episode_failed_expect_nothing():
    assert picked(recorded("pphhpp", success=False), ImitationRule(1, 4, 4)) == []


def test_when_the_operator_does_not_move_expect_those_frames_left_out() -> None:
    episode = recorded("hhhhhhhh")
    episode.states[5:, 1] = 0.2
    assert picked(episode, ImitationRule(1, 0, 2, idle_rad=0.1)) == [3, 4]
    assert picked(episode, ImitationRule(1, 0, 2)) == list(range(8))


def test_when_dagger_picks_expect_the_operators_frames_alone() -> None:
    assert [sample.frame for sample in Dagger().select(Path(), recorded("pphhpph"))] == [2, 3, 6]
    assert Dagger().select(Path(), recorded("pphhpph", success=False)) == []


def test_when_demonstrations_are_imitated_expect_every_other_frame_whoever_drove() -> None:
    assert [sample.frame for sample in Sft().select(Path(), recorded("hhhhpppp"))] == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("change", "name"),
    [({"idle_rad": float("nan")}, "idle_rad"), ({"human_stride": -1}, "human_stride"), ({"execute_steps": 0}, "steps"),
     ({"human_weight": 0.0}, "human_weight")],
)  # fmt: skip
def test_when_a_rule_cannot_work_expect_its_name(change: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ImitationRule(**change)


def test_when_a_stride_cannot_work_expect_its_name() -> None:
    with pytest.raises(ValueError, match="stride is 0"):
        SftSettings(stride=0)
