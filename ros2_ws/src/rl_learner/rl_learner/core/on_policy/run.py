# SPDX-License-Identifier: Apache-2.0
"""A run of on-policy learning: iterations with a checkpoint after each, which another process can go on from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from rl_learner.core import checkpoint
from rl_learner.core.on_policy.collector import CollectedEpisode, Collector
from rl_learner.core.tensorboard import summary_writer
from rl_methods.config import differences
from rl_methods.ppo.algorithm import Ppo

_CHECKPOINTS, _EVENTS = "checkpoints", "tensorboard"
_SEED_STRIDE = 1_000_003


@dataclass(frozen=True)
class Iteration:
    """What an iteration did.

    Attributes:
        number: From 1.
        episodes: Played with noise.
        successes: Of those.
        steps: Control steps of the run so far, evaluations left out.
        evaluated: Episodes played as the model is served, after learning; 0 where it was not evaluated.
        evaluated_successes: Of those.
        play_s: Wall time of playing.
        learn_s: Wall time of learning.
    """

    number: int
    episodes: int
    successes: int
    steps: int
    evaluated: int = 0
    evaluated_successes: int = 0
    play_s: float = 0.0
    learn_s: float = 0.0


@dataclass(frozen=True)
class RunPlan:
    """What a run plays.

    Attributes:
        episodes: Per iteration.
        seed: Of draws and order.
        scene: Seed of the scene of the n-th training episode, from 1.
        evaluation_seeds: Scenes of an evaluation.
        evaluate_every: Iterations between two evaluations, 0 for none.
    """

    episodes: int
    seed: int
    scene: Callable[[int], int]
    evaluation_seeds: Sequence[int] = ()
    evaluate_every: int = 0


class OnPolicyRun:
    """Iterations of one run.

    Args:
        folder: Of the run; gets checkpoints and TensorBoard events.
        ppo: As at the beginning of the run.
        collector: Plays episodes with it.
        plan: What is played.
        identity: Everything on which the run depends, as JSON can hold it; a run goes on only with the same.

    Attributes:
        history: Iterations so far.

    Raises:
        ValueError: The folder holds a run with another identity; the text names what differs.
        CheckpointError: None of its checkpoints is whole, or the newest does not fit.
    """

    def __init__(
        self, folder: Path, ppo: Ppo, collector: Collector, plan: RunPlan, identity: Mapping[str, Any]
    ) -> None:
        self._folder, self._ppo, self._collector, self._plan = folder, ppo, collector, plan
        self._identity = dict(identity)
        self.history: list[Iteration] = []
        self._resume()
        self._events: Any = None

    @property
    def steps(self) -> int:
        """Control steps so far, evaluations left out."""
        return self.history[-1].steps if self.history else 0

    def evaluate(self) -> list[CollectedEpisode]:
        """How the model does as it is served, on the plan's scenes."""
        return self._collector.evaluate(self._plan.evaluation_seeds)

    def advance(self) -> Iteration:
        """Play, learn, evaluate where it is due, and write a checkpoint.

        Raises:
            DivergenceError: Not one gradient step could be taken; the newest checkpoint is as it was.
        """
        number, plan = len(self.history) + 1, self._plan
        first = (number - 1) * plan.episodes + 1
        started = time.monotonic()
        seeds = [plan.scene(episode) for episode in range(first, first + plan.episodes)]
        decisions, results = self._collector.explore(seeds, (plan.seed, number))
        played = time.monotonic()
        metrics = self._ppo.learn(decisions, torch.Generator().manual_seed(plan.seed * _SEED_STRIDE + number))
        learnt = time.monotonic()
        is_due = plan.evaluate_every and number % plan.evaluate_every == 0
        judged = self.evaluate() if is_due else []
        done = Iteration(
            number=number, episodes=len(results), successes=sum(r.success for r in results),
            steps=self.steps + sum(r.ticks for r in results),
            evaluated=len(judged), evaluated_successes=sum(r.success for r in judged),
            play_s=round(played - started, 3), learn_s=round(learnt - played, 3),
        )  # fmt: skip
        self.history.append(done)
        self._write(done, metrics)
        self._save()
        return done

    def close(self) -> None:
        """Write what waits."""
        if self._events is not None:
            self._events.close()

    def _resume(self) -> None:
        newest, _ = checkpoint.latest(self._folder / _CHECKPOINTS)
        if newest is None:
            return
        snapshot = checkpoint.load(newest)
        if changed := differences(snapshot.notes["identity"], self._identity):
            raise ValueError(
                f"the run in {self._folder} was begun otherwise ({'; '.join(changed)}): give what it was begun with, "
                "or another run"
            )
        self._ppo.restore(snapshot.learner)
        self.history = [Iteration(**entry) for entry in snapshot.notes["history"]]

    def _save(self) -> None:
        notes = {"identity": self._identity, "history": [asdict(entry) for entry in self.history]}
        checkpoint.save(
            self._folder / _CHECKPOINTS, checkpoint.Snapshot(len(self.history), self._ppo.state(), notes=notes), keep=2
        )

    def _write(self, done: Iteration, metrics: Mapping[str, float]) -> None:
        if self._events is None:
            self._events = summary_writer(self._folder / _EVENTS, done.number)
        figures = {f"learn/{name}": value for name, value in metrics.items()}
        figures |= {"run/success": done.successes / done.episodes, "run/steps": float(done.steps)}
        if done.evaluated:
            figures["run/evaluated_success"] = done.evaluated_successes / done.evaluated
        for name, value in figures.items():
            self._events.add_scalar(name, value, done.number)
        self._events.flush()
