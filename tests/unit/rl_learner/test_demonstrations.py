# SPDX-License-Identifier: Apache-2.0
"""A recorded episode gives the transitions that a person's turn would have given while it happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experience.core.actions import cartesian_actions
from experience.core.dataset import DatasetEpisode, DatasetError
from experience.core.episode import Rules
from rl_learner.core.demonstrations import DemonstrationLabeler, LabelConfig
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from vla_policy.core.backends import load_backend
from vla_policy.core.stacked_images import decoded
from whetstone_common.core.enums import Actor
from whetstone_common.core.kinematics import Kinematics

ROOT = Path(__file__).resolve().parents[3]
NAMES = tuple(f"panda_joint{i}" for i in range(1, 8))
HOME = np.array([0.0, -0.4, 0.0, -2.2, 0.0, 1.8, 0.8])
FRAMES, STEPS = 21, 8


@pytest.fixture(scope="module")
def arm() -> Kinematics:
    urdf = ROOT / "ros2_ws/src/robot_bringup/description/panda.urdf"
    return Kinematics.from_urdf(urdf.read_text(encoding="utf-8"), "tcp", NAMES)


@pytest.fixture(scope="module")
def watcher(arm: Kinematics) -> EpisodePreprocessor:
    return EpisodePreprocessor(load_backend("fake").spec, arm, (*NAMES, "gripper"))


@pytest.fixture
def onlooker(watcher: EpisodePreprocessor) -> DemonstrationLabeler:
    rules = Rules(window_steps=STEPS, lockstep=True)
    return DemonstrationLabeler(load_backend("fake"), watcher, rules, LabelConfig(candidates=3, stride=2))


@pytest.fixture
def recorded(watcher: EpisodePreprocessor) -> DatasetEpisode:
    """The base turns, the hand closes halfway; the command is one frame ahead of the arm."""
    joints = HOME + np.linspace(0.0, 0.3, FRAMES + 1)[:, None] * np.eye(7)[0]
    opening = (np.arange(FRAMES + 1) < FRAMES // 2).astype(float)
    both = np.concatenate([joints, opening[:, None]], axis=1)
    images = {name: np.full((FRAMES, 48, 64, 3), 90, np.uint8) for name in watcher.contract.cameras}
    actors = np.full(FRAMES, Actor.HUMAN, np.uint8)
    return DatasetEpisode("put it there", True, both[:-1], both[1:], None, actors, images)


def test_when_a_success_was_recorded_expect_windows_that_end_in_the_reward(onlooker, recorded):
    made = onlooker.transitions(recorded, 7)
    starts = [t.episode_step for t in made]
    assert starts == list(range(0, FRAMES, 2))
    assert [bool(t.rewards[-1] > 0.0) for t in made] == [start + STEPS >= FRAMES for start in starts]
    assert made[-1].mask == 0.0
    assert [*made[0].rewards, *made[0].later_rewards] == [0.0] * (FRAMES - 1) + [1.0]
    assert all((t.actors == Actor.HUMAN).all() for t in made)
    assert {t.instruction for t in made} == {"put it there"}
    assert all(t.candidates.shape[0] == 3 for t in made)


def test_when_the_arm_was_turned_expect_actions_from_where_it_was(onlooker, watcher, recorded, arm):
    first = onlooker.transitions(recorded, 1)[0]
    here, horizon = arm.fk(recorded.states[0, :-1]), watcher.contract.horizon
    targets = [arm.fk(action[:-1]) for action in recorded.actions[:horizon]]
    wanted = cartesian_actions(
        np.concatenate([here.position, here.quaternion_xyzw()]),
        np.array([np.concatenate([pose.position, pose.quaternion_xyzw()]) for pose in targets]),
        recorded.actions[:horizon, -1],
    )
    scale, offset = (np.asarray(each) for each in (watcher.contract.action_scale, watcher.contract.action_offset))
    np.testing.assert_allclose(first.actions * scale + offset, wanted, atol=1e-5)
    np.testing.assert_array_equal(watcher.chunk(recorded, watcher.targets(recorded), 0), first.actions)
    assert abs(wanted[-1, 1]) > 0.01


def test_when_the_dataset_says_where_the_tcp_was_sent_expect_that_used(onlooker, recorded, arm):
    poses = [arm.fk(action[:-1]) for action in recorded.actions]
    targets = np.array([np.concatenate([pose.position, pose.quaternion_xyzw()]) for pose in poses])
    derived, told = (onlooker.transitions(replace(recorded, targets=each), 1) for each in (None, targets))
    np.testing.assert_allclose(derived[0].actions, told[0].actions, atol=1e-6)
    moved = onlooker.transitions(replace(recorded, targets=targets + np.eye(7)[2] * 0.1), 1)
    assert abs(moved[0].actions - told[0].actions).max() == pytest.approx(0.1, rel=1e-3)


def test_when_it_failed_expect_no_reward_and_nothing_after_it(onlooker, recorded):
    made = onlooker.transitions(replace(recorded, success=False), 1)
    assert not any(t.rewards.any() or t.later_rewards.any() for t in made)
    assert made[-1].mask == 0.0


def test_when_the_policy_drove_expect_nothing(onlooker, recorded):
    actors = recorded.actors.copy()
    actors[3] = Actor.POLICY
    assert onlooker.transitions(replace(recorded, actors=actors), 1) == []


def test_when_the_same_episode_is_looked_at_twice_expect_the_same_transitions(onlooker, recorded):
    first, second = onlooker.transitions(recorded, 4), onlooker.transitions(recorded, 4)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.noise, other.noise)
        np.testing.assert_array_equal(one.candidates, other.candidates)


def test_when_a_number_is_not_finite_expect_it_refused(onlooker, recorded):
    actions = recorded.actions.copy()
    actions[5, 2] = np.nan
    with pytest.raises(DatasetError, match="episode 3: action is not finite"):
        onlooker.transitions(replace(recorded, actions=actions), 3)
    with pytest.raises(DatasetError, match="episode 3: action.tcp_target is not finite"):
        onlooker.transitions(replace(recorded, targets=actions[:, :7]), 3)


def test_when_it_is_of_another_arm_expect_it_refused(onlooker, recorded):
    with pytest.raises(DatasetError, match="the robot 8"):
        onlooker.transitions(replace(recorded, states=recorded.states[:, :6]), 1)


@pytest.mark.parametrize(
    ("fps", "cameras", "words"), [(30.0, None, "30 frames per second"), (20.0, ("top",), "looks through")]
)
def test_when_the_dataset_does_not_fit_expect_what_differs(watcher, fps, cameras, words):
    watcher.check(20.0, watcher.contract.cameras)
    with pytest.raises(DatasetError, match=words):
        watcher.check(fps, watcher.contract.cameras if cameras is None else cameras)


def test_when_the_method_has_an_image_encoder_expect_the_images_that_the_policy_would_have_seen(watcher, recorded):
    rules = Rules(window_steps=STEPS, lockstep=True)
    seeing = DemonstrationLabeler(
        load_backend("fake"), watcher, rules, LabelConfig(candidates=3, stride=2, images=True)
    )
    made = seeing.transitions(recorded, 1)
    images = decoded(made[0].images, len(watcher.contract.cameras))
    shown = watcher.observation(recorded, 0).images
    assert all(np.array_equal(images[k], shown[name]) for k, name in enumerate(watcher.contract.cameras))
    assert made[0].next_images.size and not made[-1].next_images.size
