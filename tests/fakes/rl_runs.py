# SPDX-License-Identifier: Apache-2.0
"""Short runs of a learner: a small recipe, and the transitions of made-up episodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from experience.core.codec import TRANSITION_SCHEMA, encode
from experience.core.ledger import ReceiveResult
from experience.core.records import EpisodeEventKind
from experience.core.spool import RecordKind, Spool, SpoolEntry, SpoolLimits
from experience.core.transition import Transition
from fakes.rl_episodes import CONTRACT, GAMMA, HASH, A, C, F, H, N, plain_episode, transitions_of
from rl_learner.core.training_run import RuntimeLimits as SessionLimits
from rl_learner.core.training_run import TrainingRun
from rl_methods.common.batch import WindowShape
from rl_methods.config import MethodConfig, read_method_config

SHAPE = WindowShape(features=F, steps=C, action_dim=A, candidates=N, horizon=H, noise_dim=A)
SPOOL = 77
SMALL: dict[str, dict[str, Any]] = {
    "expo": {"edit_knots": 2, "edit_hidden": [16], "backup_candidates": N, "best_of": N},
    "critic": {"members": 3, "hidden": [16], "bounded": False},
    "schedule": {
        "base_episodes": 2,
        "warm_up_updates": 10,
        "updates_per_step": 1.0,
        "batch": 8,
        "most_steps": 1000,
        "discount": GAMMA,
        "execute_steps": C,
    },
}
SMALL_DSRL = {"dsrl": {"knots": 2, "actor_hidden": [16]}, "critic": SMALL["critic"], "schedule": SMALL["schedule"]}


def write_method(folder: Path, blocks: dict[str, dict[str, Any]] | None = None, **schedule: Any) -> Path:
    """A method's file."""
    body = {name: dict(block) for name, block in (blocks or SMALL).items()}
    body["schedule"] |= schedule
    path = folder / "method.yaml"
    path.write_text(yaml.safe_dump(body), encoding="utf-8")
    return path


def recipe(folder: Path, blocks: dict[str, dict[str, Any]] | None = None, **schedule: Any) -> MethodConfig:
    """What is in it."""
    return read_method_config(write_method(folder, blocks, **schedule))


def episode(number: int, steps: int = 12) -> list[Transition]:
    """Transitions of an episode with numbers of its own."""
    outcome = EpisodeEventKind.SUCCEEDED if number % 2 else EpisodeEventKind.TIMED_OUT
    made = transitions_of(plain_episode(steps, outcome, episode=number))
    return [_lively(t, number) for t in made]


def _lively(made: Transition, number: int) -> Transition:
    rng = np.random.default_rng([number, made.episode_step])

    def noisy(values: Any) -> Any:
        return rng.standard_normal(values.shape).astype(np.float32)

    names = ("features", "candidates", "noise", "actions", "chosen_chunk", "next_features", "next_candidates")
    return replace(made, **{name: noisy(getattr(made, name)) for name in names})


def session(what: MethodConfig, **settings: Any) -> TrainingRun:
    """A session on such episodes."""
    defaults: dict[str, Any] = {"capacity": 200, "contract_hash": HASH, "limits": SessionLimits(max_pending_updates=0)}
    return TrainingRun(what, SHAPE, **(defaults | settings))


def feed(run: TrainingRun, transitions: list[Transition], *, first: int = 1, spool: int = SPOOL) -> int:
    """Takes transitions in, in order, each when there is room; returns the next sequence number."""
    for seq, made in enumerate(transitions, first):
        while not run.has_room:
            run.learn()
        assert run.add(made, spool, seq) is ReceiveResult.NEW
    return first + len(transitions)


def finish(run: TrainingRun) -> None:
    """All that is owed."""
    while run.due:
        run.learn()


def store(folder: Path, transitions: list[Transition], identity: int = SPOOL) -> None:
    """Puts transitions into the spool of a run's folder, as transition_node would."""
    spool = Spool(folder / "transitions", SpoolLimits(max_bytes=10**9, segment_bytes=10**7), identity)
    spool.append([SpoolEntry(RecordKind.DATA, TRANSITION_SCHEMA, encode(made)) for made in transitions])
    spool.close()


__all__ = [
    "CONTRACT", "HASH", "SHAPE", "SMALL", "SMALL_DSRL", "SPOOL", "episode", "feed", "finish", "recipe", "session",
    "store", "write_method",
]  # fmt: skip
