# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from experience.core.episode import Rules
from fakes.hil_serl import BLOCKS
from fakes.rl_runs import recipe
from rl_learner.core.in_process import InProcessTraining
from rl_learner.core.rollout.episode import load, save, transitions_of
from rl_learner.core.rollout.rollout import Rollout, RolloutRules
from rl_learner.core.rollout.scene import Driven
from rl_learner.core.training_run import Phase
from rl_methods.base import ChunkSource
from vla_policy.core.backends.fake import FakeBackend, FakeScript
from vla_policy.core.protocol import Observation
from vla_policy.core.serving import contract_of
from vla_policy.core.stacked_images import decoded
from whetstone_common.core.enums import Actor
from whetstone_common.core.kinematics import Pose

JOINTS = (*(f"joint{i}" for i in range(1, 8)), "gripper")


class Table:
    """A scene that is done when the TCP has been sent 0.1 m along x."""

    joint_names = JOINTS

    def __init__(self, spec, *, refuse_at=()):
        self.spec, self.refuse_at, self.tick, self.place = spec, refuse_at, 0, np.zeros(3)

    def reset(self, seed):
        self.tick, self.place = 0, np.array([0.0, 1e-3 * seed, 0.0])

    def observation(self):
        images = {
            name: np.zeros((self.spec.image_height_px, self.spec.image_width_px, 3), np.uint8)
            for name in self.spec.cameras
        }
        return Observation(images, np.zeros(self.spec.proprio_dim, np.float32), "push")

    def pose(self):
        return Pose(self.place.copy(), np.eye(3))

    def success(self):
        return bool(self.place[0] >= 0.1)

    def drive(self, pose, opening, *, by_human=False):
        refused = self.tick in self.refuse_at
        self.tick += 1
        if not refused:
            self.place = pose.position.copy()
        return Driven(self.pose(), opening, refused)

    def truth(self):
        return {"place": self.place.copy()}


class Human:
    """Takes over after some steps, and pushes."""

    def __init__(self, scene, after):
        self.scene, self.after, self.seen = scene, after, 0

    def begin(self, *, demonstrate):
        self.seen = self.after if demonstrate else 0

    def watch(self, _commanded_opening):
        self.seen += 1
        return self.seen >= self.after

    def command(self):
        pose = self.scene.pose()
        return Pose(pose.position + np.array([0.02, 0.0, 0.0]), pose.rotation), 1.0


@pytest.fixture
def backend():
    return FakeBackend(script=FakeScript("sine", 1e-3))


def rollout(backend, **rules):
    return Rollout(Table(backend.spec), backend, RolloutRules(**({"candidates": 2, "max_steps": 40} | rules)))


def test_when_a_policy_plays_expect_a_decision_per_chunk_until_the_time_is_up(backend):
    episode = rollout(backend).play(3)
    assert (episode.steps, len(episode), bool(episode.success)) == (40, 5, False)
    assert episode.acted.all() and set(episode.actor) == {Actor.POLICY}
    assert list(episode.decision[:9]) == [0] * 8 + [1] and list(episode.step[:9]) == [*range(8), 0]
    assert episode.truth["place"].shape == (5, 3)


def test_when_an_episode_is_repeated_expect_the_same_numbers_and_with_another_seed_others(backend):
    one, same, other = (rollout(backend).play(seed) for seed in (3, 3, 4))
    assert np.array_equal(one.noise, same.noise) and np.array_equal(one.target, same.target)
    assert not np.array_equal(one.noise, other.noise)


def test_when_queries_are_always_made_expect_windows_between_decisions_and_the_same_noise_for_what_is_played(backend):
    plain, dense = rollout(backend).play(3), rollout(backend, query_always=True).play(3)
    assert len(dense) == 20 and dense.acted.sum() == 5
    assert np.array_equal(dense.noise[dense.acted], plain.noise)
    assert np.array_equal(dense.target, plain.target)


def test_when_a_human_takes_over_expect_queries_while_they_drive_and_their_steps_marked(backend):
    played = rollout(backend)
    episode = played.play(0, Human(played.scene, after=10))
    assert bool(episode.success) and episode.human_steps == 5
    assert list(episode.actor[:10]) == [Actor.POLICY] * 10 and list(episode.step[10:]) == [-1] * 5
    assert list(episode.tick[~episode.acted]) == [10, 12, 14]


def test_when_a_human_demonstrates_expect_all_steps_theirs(backend):
    played = rollout(backend)
    episode = played.play(0, Human(played.scene, after=1), demonstrate=True)
    assert episode.human_steps == episode.steps == 5 and not episode.acted.any()


def test_when_the_limits_refuse_a_step_expect_a_hold_and_another_chunk(backend):
    played = rollout(backend)
    played.scene.refuse_at = (2,)
    episode = played.play(3)
    assert episode.actor[2] == Actor.HOLD and list(episode.tick[:2]) == [0, 3]


def test_when_an_episode_becomes_transitions_expect_a_window_per_decision(backend):
    played = rollout(backend)
    contract = contract_of(backend.spec, JOINTS, "")
    rules = Rules(window_steps=8, lockstep=True)
    transitions = transitions_of(played.play(0, Human(played.scene, after=10)), 1, contract, rules, backend.spec.dt_s)
    assert [t.episode_step for t in transitions] == [0, 8, 10, 12, 14]
    assert transitions[-1].rewards.sum() == 1.0 and transitions[-1].mask == 0.0


def test_when_episodes_are_kept_expect_them_back(backend, tmp_path):
    episode = rollout(backend).play(3)
    save(tmp_path / "e.npz", [episode, episode])
    (_, again) = load(tmp_path / "e.npz")
    assert np.array_equal(again.chunk, episode.chunk) and np.array_equal(again.truth["place"], episode.truth["place"])


@pytest.mark.parametrize("name", ["execute_steps", "candidates", "query_stride", "max_steps"])
def test_when_a_rule_cannot_work_expect_its_name_in_the_error(name):
    with pytest.raises(ValueError, match=f"{name} is 0"):
        replace(RolloutRules(), **{name: 0})


def test_when_the_method_has_an_image_encoder_expect_images_in_transitions_and_files(backend, tmp_path):
    made = rollout(backend, images=True)
    episode = made.play(1)
    shape = (len(backend.spec.cameras), backend.spec.image_height_px, backend.spec.image_width_px, 3)
    assert episode.images.shape == (len(episode), *shape)
    contract = contract_of(backend.spec, JOINTS, "")
    first = transitions_of(episode, 1, contract, Rules(window_steps=8, lockstep=True), 0.05)[0]
    assert np.array_equal(decoded(first.images, shape[0]), episode.images[0])
    assert np.array_equal(first.proprio, episode.proprio[0])
    save(tmp_path / "e.npz", [episode])
    assert np.array_equal(load(tmp_path / "e.npz")[0].images, episode.images)
    assert rollout(backend).play(1).images.size < episode.images.size


def test_when_a_method_plays_nothing_without_weights_expect_it_to_learn_from_demonstrations_first(backend, tmp_path):
    scene = rollout(backend, images=True)
    shown = scene.play(1, Human(scene.scene, 0), demonstrate=True)
    config = recipe(tmp_path, BLOCKS)
    contract = contract_of(backend.spec, JOINTS, "")
    rules = Rules(window_steps=config.steps, lockstep=True)
    training = InProcessTraining(rollout(backend, execute_steps=config.steps), config, seed=0)
    with pytest.raises(ValueError, match="prior is empty"):
        training.train_once()
    training.add_prior(transitions_of(shown, 1, contract, rules, backend.spec.dt_s))
    episode = training.train_once()
    assert training.run.phase is Phase.ONLINE and training.run.learner.updates >= config.schedule.warm_up_updates
    assert set(episode.source[episode.acted]) == {ChunkSource.ACTOR} and len(training.run.data.online) > 0
