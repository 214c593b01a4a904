# SPDX-License-Identifier: Apache-2.0
"""The identity task: a decision that is understood completely. Play the number that the features tell.

The base aims beside it, by a constant and by its noise; an episode is one chunk, and succeeds when the mean of the
first action over the executed steps is near the number. A method plays and learns it through its own two halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from experience.core.records import EpisodeEventKind
from experience.core.transition import Transition
from harness.ring import contract
from rl_learner.core.training_run import RuntimeLimits, TrainingRun
from rl_methods.base import FloatArray, LearnedPolicy, NoisePolicy, PolicyInput, RuntimeConfig, ValidationContext
from rl_methods.common.batch import WindowShape
from rl_methods.common.probes import probes
from rl_methods.common.weights import PolicySet, pack, unpack
from rl_methods.config import MethodConfig
from rl_methods.registry import FEATURES, entry, make_policy
from vla_policy.core.steering.decide import decide, steer
from whetstone_common.core.enums import Actor, RequestKind

CONTRACT = contract()
N, C, H, A, F = 4, 8, CONTRACT.horizon, CONTRACT.action_dim, CONTRACT.feature_dim
SCALE, OFFSET = CONTRACT.action_scale[-1], CONTRACT.action_offset[-1]
SHAPE = WindowShape(
    features=F, steps=C, action_dim=A, candidates=N, horizon=H, noise_dim=A, proprio=CONTRACT.proprio_dim,
    gripper_closed=-OFFSET / SCALE, gripper_open=(1.0 - OFFSET) / SCALE,
    state_features=CONTRACT.state_features,
)  # fmt: skip
TRIAL = ValidationContext(CONTRACT, probes(CONTRACT), 2.0)
TOLERANCE, BIAS, NOISE = 0.2, -0.3, 0.4
_LATE = 1000  # the decision is made late in an episode: what a method leaves to the base is over


def packed_policy(run: TrainingRun, version: int = 1) -> PolicySet:
    """The newest weights of a run, as they reach the robot."""
    learner = run.learner
    return sent(run.method.method, learner.policy_weights(), learner.architecture(), version)


def sent(method: str, tensors: Mapping[str, Tensor], architecture: Mapping[str, Any], version: int = 1) -> PolicySet:
    """A set of weights as it comes out at the robot.

    Raises:
        WeightsError: The robot does not unpack it.
    """
    manifest, data = pack(
        tensors, architecture, method=method, run="run", step=1, version=version, parent=0,
        contract_hash=CONTRACT.hash(), created_ns=1,
    )  # fmt: skip
    return unpack(manifest, data, method=method, contract_hash=CONTRACT.hash())


class IdentityTask:
    """Plays a method on the task, and lets it learn.

    Args:
        config: The method.
        seed: Of networks, scenes and noise.
        demonstrations: Episodes that a human plays right, as prior data.
    """

    def __init__(self, config: MethodConfig, seed: int = 0, demonstrations: int = 0) -> None:
        limits = RuntimeLimits(learning_rate=1e-3, max_pending_updates=0)
        self.run = TrainingRun(config, SHAPE, seed=seed, capacity=2000, limits=limits, contract_hash=CONTRACT.hash())
        self.policy, self._seed, self._episodes = make_policy(config.method), seed, 0
        if entry(config.method).needs_weights and isinstance(self.policy, LearnedPolicy):
            self.policy.install(self.policy.prepare(packed_policy(self.run), TRIAL))  # untrained
        for number in range(demonstrations):
            scene = self._scene(10_000 + number)
            right = np.zeros((H, A), np.float32)
            right[:, 0] = scene.features[-1]
            self.run.add_prior(self._transition(scene, right, Actor.HUMAN, 0))

    def train(self, episodes: int, publish_every: int = 20) -> None:
        """Play episodes, and do all updates that they pay for."""
        for _ in range(episodes):
            self._episodes += 1
            scene = self._scene(self._episodes)
            output = decide(self.policy, scene, RuntimeConfig(n_candidates=N))
            self.run.add(
                self._transition(scene, output.chunk, Actor.POLICY, int(output.source), output.candidate), 7,
                self._episodes,
            )  # fmt: skip
            while self.run.due:
                self.run.learn()
            if self.run.ready and self._episodes % publish_every == 0 and isinstance(self.policy, LearnedPolicy):
                weights = packed_policy(self.run, self._episodes)
                self.policy.install(self.policy.prepare(weights, TRIAL))

    def success_rate(self, episodes: int = 100) -> float:
        """Share of fresh scenes that succeed without exploration."""
        config = RuntimeConfig(n_candidates=N, explore=False)
        scenes = (self._scene(20_000 + number, config) for number in range(episodes))
        return float(np.mean([is_hit(scene, decide(self.policy, scene, config).chunk) for scene in scenes]))

    def _scene(self, number: int, config: RuntimeConfig | None = None) -> PolicyInput:
        chance = np.random.default_rng([self._seed, number])
        features = np.zeros(F, np.float32)
        features[-1] = chance.uniform(-1.0, 1.0)
        noise: FloatArray = chance.standard_normal((N, H, A), dtype=np.float32)
        is_steered = isinstance(self.policy, NoisePolicy)
        if isinstance(self.policy, NoisePolicy):
            noise = steer(self.policy, features, noise.shape, number, 0, config or RuntimeConfig(n_candidates=N))
        candidates = 0.1 * noise
        candidates[..., 0] = features[-1] + BIAS + NOISE * noise[..., 0]
        return PolicyInput(
            features, np.zeros(CONTRACT.proprio_dim, np.float32), candidates, noise, is_steered, number, 0, _LATE
        )

    def _transition(
        self, scene: PolicyInput, chunk: FloatArray, actor: Actor, kind: int, chosen: int = -1
    ) -> Transition:
        reward = is_hit(scene, chunk)
        outcome = EpisodeEventKind.SUCCEEDED if reward else EpisodeEventKind.FAILED
        nothing, rewards = np.zeros(0, np.float32), np.zeros(C, np.float32)
        rewards[0] = reward
        acted = RequestKind.ACT if actor is Actor.POLICY else RequestKind.QUERY_ONLY
        return Transition(
            epoch=1, episode=scene.seed, request_id=scene.seed, request_kind=int(acted), episode_step=0,
            episode_steps=C, outcome=int(outcome), task="identity", instruction="", contract_hash=CONTRACT.hash(),
            method=self.run.method.method, rewards=rewards, later_rewards=nothing, mask=0.0, rejected_by_human=False,
            valid=True,
            features=scene.features, proprio=scene.proprio, chosen_chunk=chunk, actions=chunk,
            actors=np.full(C, int(actor), np.uint8), candidates=scene.candidates, noise=scene.noise, chosen=chosen,
            kind=kind, next_features=nothing, next_proprio=nothing, next_candidates=np.zeros((0, H, A), np.float32),
            next_noise=np.zeros((0, H, A), np.float32),
        )  # fmt: skip


def is_hit(scene: PolicyInput, chunk: FloatArray) -> float:
    """1 when the chunk plays the number, else 0."""
    return float(abs(chunk[:C, 0].mean() - scene.features[-1]) < TOLERANCE)


def small(config: MethodConfig) -> MethodConfig:
    """The method as it is shipped, with small critics and a short schedule; it sees the features, not images."""
    schedule = replace(
        config.schedule, base_episodes=min(config.schedule.base_episodes, 1) * 60, warm_up_updates=100, batch=64,
        updates_per_step=0.25, execute_steps=C, most_steps=1_000_000,
    )  # fmt: skip
    settings = {**config.settings, "encoder": FEATURES} if "encoder" in config.settings else config.settings
    return replace(config, settings=settings, critic=replace(config.critic, hidden=(64, 64)), schedule=schedule)
