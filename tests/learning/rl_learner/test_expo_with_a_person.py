# SPDX-License-Identifier: Apache-2.0
"""Pick and place with a base that drives back to the wrong place: a hundred episodes with a person at hand."""

from dataclasses import replace

import numpy as np
import torch

from fakes.grasp_toy import DISCOUNT_PER_STEP, FEATURES, SHAPE, STEPS, Game, Person, windows_of
from rl_learner.core.critic import CriticConfig, Reduce
from rl_learner.core.expo import Expo, ExpoConfig
from rl_learner.core.replay import Replay

CONFIG = ExpoConfig(
    features=FEATURES,
    steps=STEPS,
    action_dim=4,
    discount=DISCOUNT_PER_STEP**STEPS,
    edit_knots=2,
    edit_scale=(1.0, 1.0, 0.8, 2.0),
    edit_hidden=(96, 96),
    edit_rate=2e-3,
    imitation_weight=5.0,
    human_weight=5.0,
    q_weight=0.0,
    alpha=0.0,
    best_of=4,
    backup_candidates=4,
    select=Reduce.LOWER,
    refusal_weight=1.0,
    critic=CriticConfig(members=3, hidden=(64, 64), learning_rate=1e-3, weight_decay=1e-2),
)
BASE_EPISODES, EPISODES, WARM_UP, UPDATES, BATCH = 30, 100, 400, 14, 64


def first(_features, candidates, _seed, _number):
    return candidates[0], False


def steered(expo):
    def choose(features, candidates, seed, number):
        generator = torch.Generator().manual_seed(1009 * seed + number)
        pick = expo.choose(torch.from_numpy(features), torch.from_numpy(candidates), generator)
        return pick.chunk.numpy(), pick.edited

    return choose


def success(choose, episodes=80):
    played = [Game().play(seed, choose) for seed in range(episodes)]
    return float(np.mean([e.success for e in played]))


def trained(config, seed=0):
    torch.manual_seed(seed)
    expo, replay, game, person = Expo(config), Replay(SHAPE, 4000), Game(), Person()
    generator = torch.Generator().manual_seed(seed)
    for number in range(EPISODES):
        chooser = first if number < BASE_EPISODES else steered(expo)
        for window in windows_of(game.play(10_000 * (seed + 1) + number, chooser, person)):
            replay.add(window)
        if number == BASE_EPISODES - 1:
            expo.fit_scaler(replay.rows(torch.arange(len(replay))).features)
        if number >= BASE_EPISODES - 1:
            for _ in range(WARM_UP if number == BASE_EPISODES - 1 else UPDATES):
                expo.update(replay.sample(BATCH, generator), generator, mc_share=1.0)
    return expo, person


def test_when_a_person_takes_over_before_failing_grasps_expect_far_fewer_failures_alone():
    torch.set_num_threads(1)
    before = success(first)
    expo, person = trained(CONFIG)
    after = success(steered(expo))
    always = Expo(replace(CONFIG, margin=-1.0))
    always.restore(expo.state())
    print(f"before {before:.2f} after {after:.2f} always edited {success(steered(always)):.2f} person {person.own / person.seen:.2f}")
    assert 0.6 < before < 0.85
    assert person.own <= 0.22 * person.seen
    assert after >= 0.9
