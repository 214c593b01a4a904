# SPDX-License-Identifier: Apache-2.0
"""A training run in process: the session, the windows, the policy and its validation of the graph, without ROS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from experience.core.episode import Rules as WindowRules
from experience.core.transition import Transition
from rl_learner.core.evaluation_plan import EvaluationPlan
from rl_learner.core.evaluation_rounds import EvaluationPoint, EvaluationRounds
from rl_learner.core.installed_weights import InstalledWeights
from rl_learner.core.rollout.episode import PlayedEpisode, transitions_of
from rl_learner.core.rollout.rollout import Rollout
from rl_learner.core.rollout.scene import Operator
from rl_learner.core.training_run import Phase, RuntimeLimits, TrainingRun
from rl_methods.base import LearnedPolicy
from rl_methods.config import MethodConfig
from rl_methods.registry import make_policy
from vla_policy.core.serving import contract_of

TRAINING_SEED = 50_000
_EPISODES_PER_RUN = 10_000
_SPOOL = 1
_S_PER_MIN = 60.0


class InProcessTraining:
    """One run: a rollout, an operator, a learner.

    Args:
        rollout: Plays episodes.
        config: Settings of the method.
        seed: Of networks, draws and scenes.
        operator: May take over; None for nobody.
        prior_share: Of a batch, from prior data.
        capacity: Windows of the replay.
        evaluation: When the policy plays by itself on the way; never by default.
        device: That the learner's networks live on; the CPU by default.

    Attributes:
        rounds: Rounds of evaluation so far.

    Raises:
        ValueError: The method's policy takes no weights.
    """

    def __init__(
        self,
        rollout: Rollout,
        config: MethodConfig,
        seed: int,
        operator: Operator | None = None,
        *,
        prior_share: float = 0.5,
        capacity: int = 8192,
        evaluation: EvaluationPlan | None = None,
        device: torch.device | None = None,
    ) -> None:
        spec, scene = rollout.backend.spec, rollout.scene
        policy = make_policy(config.method)
        if not isinstance(policy, LearnedPolicy):
            raise ValueError(f"the policy of method {config.method!r} takes no weights")
        rollout.rules = replace(rollout.rules, images=config.image_size > 0)
        self.rollout, self.config, self.seed, self.operator, self.policy = rollout, config, seed, operator, policy
        self.contract = contract_of(spec, scene.joint_names, "")
        shape = config.shape_of(self.contract, rollout.rules.candidates)
        self.run = TrainingRun(
            config, shape, seed=seed, capacity=capacity, contract_hash=self.contract.hash(),
            limits=RuntimeLimits(prior_share=prior_share, max_pending_updates=0), device=device,
        )  # fmt: skip
        self.episodes: list[PlayedEpisode] = []
        self._rules = WindowRules(window_steps=config.steps, lockstep=True)
        self.rounds = EvaluationRounds(evaluation or EvaluationPlan(), spec.dt_s)
        self._weights = InstalledWeights(config.method, policy, self.contract)
        self._sent = 0

    @property
    def is_finished(self) -> bool:
        """Whether all control steps were used."""
        return self.run.phase is Phase.FINISHED

    @property
    def curve(self) -> list[EvaluationPoint]:
        """Success without help so far: the base's first, then of each round."""
        return self.rounds.curve

    @property
    def evaluation_steps(self) -> int:
        """Control steps of all rounds of evaluation."""
        return self.rounds.steps

    @property
    def human_share(self) -> float:
        """Of all control steps, commanded by a human."""
        return sum(e.human_steps for e in self.episodes) / max(1, sum(e.steps for e in self.episodes))

    def add_prior(self, transitions: Iterable[Transition]) -> None:
        """Take in prior data, which every batch has its share of; they are no robot time of the run.

        Raises:
            ValueError: A transition does not fit.
        """
        for transition in transitions:
            self.run.add_prior(transition)

    @property
    def robot_min(self) -> float:
        """Robot time so far, evaluations included."""
        steps = sum(e.steps for e in self.episodes) + self.evaluation_steps
        return steps * self.rollout.backend.spec.dt_s / _S_PER_MIN

    def play(
        self, seed: int, *, explore: bool, operator: Operator | None = None, newest: bool = False
    ) -> PlayedEpisode:
        """An episode with the weights that may play, or of the base as long as there are none.

        Args:
            seed: Of scene and noise.
            explore: Whether the policy may try what it does not think best.
            operator: May take over.
            newest: Play the newest weights whatever the guard says of them.
        """
        self._weights.update(self.run, newest=newest)
        self.rollout.policy, self.rollout.config = self.policy, replace(self.rollout.config, explore=explore)
        return self.rollout.play(seed, operator)

    def train_once(self) -> PlayedEpisode:
        """One episode, and the updates that it pays for."""
        if not self.episodes:
            self.run.begin_with_prior()
            self._learn()
        number = len(self.episodes) + 1
        seed = TRAINING_SEED + _EPISODES_PER_RUN * self.seed + number
        episode = self.play(seed, explore=self.config.schedule.explore, operator=self.operator)
        self.episodes.append(episode)
        dt_s = self.rollout.backend.spec.dt_s
        for transition in transitions_of(episode, number, self.contract, self._rules, dt_s):
            self._sent += 1
            self.run.add(transition, _SPOOL, self._sent)
        self._learn()
        if self.run.ready and self.rounds.is_due(self.run.tally.steps, is_last=self.is_finished):
            self.evaluate()
        return episode

    def evaluate(self) -> EvaluationPoint:
        """A round of the newest weights by themselves; the guard judges them by it."""
        run, guard = self.run, self.run.guard
        if not self.curve and guard.base_episodes:
            self.rounds.add(EvaluationPoint(self.robot_min, guard.base_successes, guard.base_episodes))
        played = [self.play(seed, explore=False, newest=True) for seed in self.rounds.begin(run.tally.steps)]
        self.rounds.steps += sum(episode.steps for episode in played)
        successes = sum(bool(episode.success) for episode in played)
        verdict = run.on_evaluation(successes, len(played), run.learner.policy_weights())
        self.rounds.add(EvaluationPoint(self.robot_min, successes, len(played), verdict.value))
        return self.curve[-1]

    def _learn(self) -> None:
        while self.run.due:
            self.run.learn()
