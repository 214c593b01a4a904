# SPDX-License-Identifier: Apache-2.0
"""The chain: four windows one after the other, whatever is played, and a reward in the last step of the last one.

So the value of each state is known: gamma^(C - 1) in the last one, and gamma^C times the next one's before it. None of
the windows says what follows it (no Monte-Carlo return that is used): only a backup can carry the reward to the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from experience.core.records import EpisodeEventKind
from experience.core.transition import Transition
from fakes.identity_task import CONTRACT, SHAPE, small
from rl_learner.core.intake import window_of
from rl_learner.core.replay import Replay
from rl_methods.common.batch import Batch
from rl_methods.config import MethodConfig
from whetstone_common.core.enums import Actor

STATES = 4
_EPISODES = 300
_UPDATES, _BATCH = 1000, 64
Change = Callable[[Batch], Batch]


class ChainTask:
    """Lets a method learn the chain.

    Args:
        config: The method; its critics are made small, and follow faster than on a robot.
        change: What is done to every batch on its way to the method, as a wrong method would.
    """

    def __init__(self, config: MethodConfig, change: Change = lambda batch: batch) -> None:
        torch.manual_seed(0)
        config = small(config)
        config = replace(config, critic=replace(config.critic, polyak=0.05, learning_rate=1e-3))
        self.discount, self._change = config.schedule.discount, change
        self._learner = config.learner(SHAPE)
        self._replay = Replay(SHAPE, _EPISODES * STATES, self._learner.data_spec)
        for episode in range(_EPISODES):
            for state in range(STATES):
                self._replay.add(window_of(transition(episode, state), SHAPE, self.discount))
        self._learner.fit_scaler(self._replay.column("features"))
        if self._learner.data_spec.keeps("proprio"):
            self._learner.fit_proprio(self._replay.column("proprio"))

    def expected(self) -> list[float]:
        """Value of each state."""
        steps = SHAPE.steps
        return [self.discount ** (steps * (STATES - state) - 1) for state in range(STATES)]

    def learned(self) -> list[float]:
        """Mean target of the critic in each state, after learning."""
        generator = torch.Generator().manual_seed(0)
        for _ in range(_UPDATES):
            self._learner.update(self._change(self._replay.sample(_BATCH, generator)), generator)
        everywhere = [self._replay.rows(torch.arange(state, _EPISODES * STATES, STATES)) for state in range(STATES)]
        return [self._learner.update(self._change(batch), generator)["critic/target"] for batch in everywhere]


def transition(episode: int, state: int) -> Transition:
    """The window of a state: its features and proprioception are the state's alone, its chunks are random."""
    chance = np.random.default_rng([episode, state])
    n, horizon, dims = SHAPE.candidates, SHAPE.horizon, SHAPE.action_dim
    chunks = np.float32(0.1) * chance.standard_normal((n + 1, horizon, dims), dtype=np.float32)
    noise = chance.standard_normal((n, horizon, dims), dtype=np.float32)
    is_last = state == STATES - 1
    rewards = np.zeros(SHAPE.steps, np.float32)
    rewards[-1] = is_last
    return Transition(
        epoch=1, episode=episode + 1, request_id=state + 1, request_kind=0, episode_step=SHAPE.steps * state,
        episode_steps=SHAPE.steps * STATES, outcome=int(EpisodeEventKind.SUCCEEDED), task="chain", instruction="",
        contract_hash=CONTRACT.hash(), method="none", rewards=rewards, later_rewards=np.zeros(0, np.float32),
        mask=1.0 - is_last, rejected_by_human=False, valid=True, features=_one_hot(state, SHAPE.features),
        proprio=_one_hot(state, CONTRACT.proprio_dim), chosen_chunk=chunks[-1], actions=chunks[-1],
        actors=np.full(SHAPE.steps, int(Actor.POLICY), np.uint8), candidates=chunks[:-1], noise=noise, chosen=0,
        kind=0, next_features=_one_hot(state + 1, 0 if is_last else SHAPE.features),
        next_proprio=_one_hot(state + 1, 0 if is_last else CONTRACT.proprio_dim),
        next_candidates=chunks[: 0 if is_last else n], next_noise=noise[: 0 if is_last else n],
    )  # fmt: skip


def _one_hot(state: int, size: int) -> np.ndarray:
    """One of the last numbers is 1: methods let the last features count most."""
    out = np.zeros(size, np.float32)
    if size:
        out[-1 - state] = 1.0
    return out
