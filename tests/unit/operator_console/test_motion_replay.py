# SPDX-License-Identifier: Apache-2.0
"""A recorded motion as commands: to its start, along it at its speed or slower, and held until somebody judges it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from operator_console.core.motion_replay import MotionReplay, ReplayError, ReplayPhase
from operator_console.core.playback import EpisodeReplay
from whetstone_common.core.kinematics import Pose

JOINTS = ("x", "y", "gripper")
COMMANDS = np.array([[0.1, 0.0, 1.0], [0.2, 0.1, 1.0], [0.3, 0.1, 0.0]])
EPISODE = EpisodeReplay(
    times_s=np.array([0.0, 0.05, 0.1]),
    joints=JOINTS,
    measured=COMMANDS,
    commanded=COMMANDS,
    actors=np.ones(3, np.uint8),
    pictures={},
)


def at(x: float, y: float) -> Pose:
    return Pose(np.array([x, y, 0.0]), np.eye(3))


def forward(q: npt.ArrayLike) -> Pose:
    return at(*np.asarray(q))


def replay_of(episode: EpisodeReplay = EPISODE, speed: float = 1.0) -> MotionReplay:
    return MotionReplay(episode, JOINTS, forward, speed)


def test_when_the_arm_is_elsewhere_expect_the_start_until_it_is_there() -> None:
    replay = replay_of()
    for now_s in (5.0, 6.0, 7.0):
        replay.advance(at(0.5, 0.5), now_s)
        pose, opening = replay.target
        assert replay.phase is ReplayPhase.APPROACHING
        assert np.allclose(pose.position[:2], [0.1, 0.0])
        assert opening == 1.0


@pytest.mark.parametrize("speed", [0.5, 1.0])
def test_when_it_plays_expect_the_recorded_way_at_that_share_of_its_speed(speed: float) -> None:
    replay = replay_of(speed=speed)
    replay.advance(at(0.1, 0.0), 10.0)
    replay.advance(at(0.1, 0.0), 10.0 + 0.05 / speed)
    assert np.allclose(replay.target[0].position[:2], [0.2, 0.1])
    assert replay.share == pytest.approx(0.5)
    replay.advance(at(0.2, 0.1), 10.0 + 0.075 / speed)
    pose, opening = replay.target
    assert np.allclose(pose.position[:2], [0.25, 0.1])
    assert opening == pytest.approx(0.5)


def test_when_all_was_played_expect_the_end_held_for_a_verdict_before_it_is_over() -> None:
    replay = replay_of()
    replay.advance(at(0.1, 0.0), 10.0)
    replay.advance(at(0.2, 0.1), 10.2)
    assert replay.phase is ReplayPhase.PLAYING, "the arm is not there yet"
    replay.advance(at(0.3, 0.1), 10.3)
    assert replay.phase is ReplayPhase.ENDING
    replay.advance(at(0.3, 0.1), 12.2)
    assert replay.phase is ReplayPhase.ENDING
    replay.advance(at(0.3, 0.1), 12.4)
    assert replay.phase is ReplayPhase.OVER
    assert np.allclose(replay.target[0].position[:2], [0.3, 0.1])


def test_when_it_is_halted_expect_the_arm_held_where_it_was_commanded_to_be() -> None:
    replay = replay_of()
    replay.advance(at(0.1, 0.0), 10.0)
    replay.advance(at(0.15, 0.05), 10.04)
    replay.halt()
    replay.advance(at(0.9, 0.9), 11.0)
    assert replay.phase is ReplayPhase.HALTED
    assert np.allclose(replay.target[0].position[:2], [0.15, 0.05])


@pytest.mark.parametrize(
    ("episode", "speed", "words"),
    [
        (EPISODE, 0.0, "speed is 0, allowed are 0.1 to 1"),
        (EPISODE, float("nan"), "speed is nan"),
        (EPISODE, 1.5, "speed is 1.5"),
        (
            replace(EPISODE, joints=("x", "z", "gripper")),
            1.0,
            "x, z, gripper; this arm has x, y, gripper",
        ),
        (replace(EPISODE, commanded=COMMANDS * np.nan), 1.0, "not all finite"),
    ],
)
def test_when_a_motion_does_not_fit_expect_refusal_with_the_reason(
    episode: EpisodeReplay, speed: float, words: str
) -> None:
    with pytest.raises(ReplayError, match=words):
        replay_of(episode, speed)
