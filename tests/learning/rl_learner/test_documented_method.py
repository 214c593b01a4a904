# SPDX-License-Identifier: Apache-2.0
"""The method of docs/tutorials/add-a-method.md, in process: it learns a task that its base cannot do."""

import numpy as np
import pytest

from fakes.documented_method import documented, register
from rl_learner.core.in_process import InProcessTraining
from rl_learner.core.rollout.rollout import Rollout, RolloutRules
from rl_learner.core.rollout.scene import Driven
from rl_methods.base import ChunkSource
from rl_methods.config import read_method_config
from rl_methods.registry import settings_file
from vla_policy.core.backends.fake import FakeBackend
from vla_policy.core.protocol import Observation
from whetstone_common.core.kinematics import Pose

JOINTS = (*(f"joint{i}" for i in range(1, 8)), "gripper")


class Line:
    """Done when the TCP has come 0.2 further along x; the base stays where it is."""

    joint_names = JOINTS

    def __init__(self, spec):
        self.spec, self.tick, self.x = spec, 0, 0.0

    def reset(self, _seed):
        self.tick, self.x = 0, 0.0

    def observation(self):
        size = (self.spec.image_height_px, self.spec.image_width_px, 3)
        images = {name: np.zeros(size, np.uint8) for name in self.spec.cameras}
        return Observation(images, np.zeros(self.spec.proprio_dim, np.float32), "push")

    def pose(self):
        return Pose(np.array([self.x, 0.0, 0.0]), np.eye(3))

    def success(self):
        return self.x >= 0.2

    def drive(self, pose, opening, *, by_human=False):
        self.tick, self.x = self.tick + 1, float(pose.position[0])
        return Driven(self.pose(), opening, refused=False)

    def truth(self):
        return {}


@pytest.fixture
def training(tmp_path, monkeypatch):
    register(tmp_path, monkeypatch)
    backend = FakeBackend()
    rollout = Rollout(Line(backend.spec), backend, RolloutRules(candidates=2, max_steps=16))
    return InProcessTraining(rollout, read_method_config(settings_file("nudge")), seed=0)


def test_when_the_documented_method_trains_expect_it_to_do_what_its_base_cannot(training):
    assert not training.play(1, explore=False).success
    while len(training.episodes) < 150:
        training.train_once()
    episode = training.play(1, explore=False)
    assert bool(episode.success) and set(episode.source) == {ChunkSource.ACTOR}
    assert float(training.run.learner.acting.offset.detach()[0]) > 0.1


def test_when_a_method_is_written_down_expect_no_more_than_a_hundred_lines():
    assert sum(len(text.splitlines()) for text in documented()) <= 100
