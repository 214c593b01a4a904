# SPDX-License-Identifier: Apache-2.0
"""A task of one decision that is understood completely: hit a point that the features tell."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rl_learner.core.checkpoint import digest
from rl_learner.core.replay import Replay, Window
from rl_methods.common.batch import WindowShape
from rl_methods.common.critic import CriticConfig
from rl_methods.common.scoring import Reduce
from rl_methods.expo.algorithm import Expo, ExpoConfig

SHAPE = WindowShape(features=2, steps=2, action_dim=2, candidates=4, horizon=2, noise_dim=2)
TOLERANCE = 0.25
CONFIG = ExpoConfig(
    features=2,
    steps=2,
    action_dim=2,
    edit_knots=1,
    edit_scale=(0.6,),
    edit_hidden=(64, 64),
    edit_rate=1e-3,
    best_of=4,
    backup_candidates=4,
    alpha=0.05,
    learn_alpha=False,
    select=Reduce.MEAN,
    critic=CriticConfig(members=3, hidden=(64, 64), learning_rate=2e-3),
)


class Base:
    """A frozen policy that aims beside the point, by as much to the right as it sees it to the right."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def look(self):
        features = self.rng.uniform(-1.0, 1.0, 2).astype(np.float32)
        wrong = np.array([0.35 * np.sign(features[0]), 0.0])
        aims = features + wrong + 0.12 * self.rng.standard_normal((4, 1, 2))
        noise = self.rng.standard_normal((4, 2, 2)).astype(np.float32)
        return features, np.repeat(aims, 2, axis=1).astype(np.float32), noise


def hits(features, chunk):
    return float(np.linalg.norm(chunk.mean(0) - features) < TOLERANCE)


def window(look, chunk, reward, **changes):
    features, candidates, noise = look
    values = Window(
        features=features, actions=chunk, candidates=candidates, noise=noise, reward=reward, mask=0.0, discount=0.9,
        valid=1.0, mc_return=reward, success=reward, human=0.0, refused=0.0, proposed=chunk, next_features=features,
        next_candidates=candidates,
    )  # fmt: skip
    return replace(values, **changes)


def state(expo, features):
    nothing = torch.zeros(1, 0)
    return expo.acting.state(torch.from_numpy(features)[None], nothing, nothing)[0]


def played(expo, seed, count=200):
    base, wins = Base(seed), 0.0
    for _ in range(count):
        features, candidates, _ = base.look()
        pick = expo.acting.choose(state(expo, features), torch.from_numpy(candidates), rule=expo.config.rule())
        wins += hits(features, pick.chunk.numpy())
    return wins / count


def trained(config, episodes, *, person=False, seed=0):
    torch.manual_seed(seed)
    expo, base, replay = Expo(config), Base(seed), Replay(SHAPE, 2000)
    generator = torch.Generator().manual_seed(seed)
    for number in range(episodes):
        look = base.look()
        chunk = look[1][0]
        if number >= 60:
            pick = expo.acting.choose(
                state(expo, look[0]), torch.from_numpy(look[1]), generator, rule=expo.config.rule(), explore=True
            )
            chunk = pick.chunk.numpy()
        reward = hits(look[0], chunk)
        if person and not reward and number % 3 == 0:
            right = np.repeat(look[0][None], 2, axis=0)
            replay.add(window(look, right, 1.0, human=1.0, refused=1.0, proposed=chunk))
        else:
            replay.add(window(look, chunk, reward))
        if number >= 30:
            for _ in range(4):
                expo.update(replay.sample(64, generator), generator)
    return expo


def test_when_the_base_aims_beside_expect_expo_to_learn_the_edit_from_success_alone():
    before = played(Expo(replace(CONFIG, edit=False, best_of=1)), seed=99)
    after = played(trained(CONFIG, 400), seed=99)
    assert before < 0.35
    assert after > 0.85


def test_when_a_person_corrects_a_third_of_the_failures_expect_fewer_episodes_to_be_enough():
    config = replace(CONFIG, imitation_weight=5.0, human_weight=3.0, refusal_weight=1.0, alpha=0.01)
    assert played(trained(config, 150, person=True), seed=99) > 0.85


def test_when_the_seed_is_the_same_expect_the_same_learner_bit_for_bit():
    first, second = (trained(CONFIG, 80, seed=3) for _ in range(2))
    assert digest(first.state()) == digest(second.state())


@pytest.mark.parametrize("changes", [{"edit": False}])
def test_when_edits_are_off_expect_best_of_n_to_stay_near_the_base(changes):
    after = played(trained(replace(CONFIG, **changes), 200), seed=99)
    assert 0.1 < after < 0.75
