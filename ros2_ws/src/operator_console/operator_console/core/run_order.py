# SPDX-License-Identifier: Apache-2.0
"""A training run as the page orders it, and the command that carries it out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operator_console.core.runs import RunView
from whetstone_common.core.run_name import run_name_problem
from whetstone_common.core.run_session import EVALUATE_EPISODES, UNBOUNDED_MIN, RunSession

_MOST_STEPS = 100_000_000
OPERATORS = ("scripted", "none")


class RunRefusedError(ValueError):
    """A run that cannot be started so; the text says why, and what to do."""


@dataclass(frozen=True)
class RunOrder:
    """A new run.

    Attributes:
        name: Of the run.
        task: Name of the task.
        method: What learns.
        minutes: Robot time of it (min), 0 for no bound.
        max_steps: Control steps of it, 0 for no bound.
        operator: Who takes over: scripted (of the simulator) or none.
        evaluate_every_min: Robot minutes between two rounds of evaluation, 0 for none.
        evaluate_episodes: Of a round.
        prior: Folder of demonstrations or of a run that is learnt from as well, empty for none.
        seed: Of scenes, exploration and networks.
    """

    name: str
    task: str
    method: str
    minutes: float = 0.0
    max_steps: int = 0
    operator: str = OPERATORS[0]
    evaluate_every_min: float = 0.0
    evaluate_episodes: int = EVALUATE_EPISODES
    prior: str = ""
    seed: int = 0

    def check(self) -> None:
        """Refuse what `whetstone train` would refuse, before a process is started.

        Raises:
            RunRefusedError: With what is wrong.
        """
        if problem := run_name_problem(self.name):
            raise RunRefusedError(problem)
        if not (math.isfinite(self.minutes) and 0.0 <= self.minutes <= UNBOUNDED_MIN):
            raise RunRefusedError(f"robot time is {self.minutes} min: allowed are 0 for no bound, to {UNBOUNDED_MIN:g}")
        if not 0 <= self.max_steps <= _MOST_STEPS:
            raise RunRefusedError(f"control steps are {self.max_steps}: allowed are 0 for no bound, to {_MOST_STEPS}")
        if not self.minutes and not self.max_steps:
            raise RunRefusedError("the run has no budget: give robot time or control steps")
        if self.operator not in OPERATORS:
            raise RunRefusedError(f"operator {self.operator!r}: allowed are {', '.join(OPERATORS)}")

    def arguments(self, runs: Path) -> list[str]:
        """Arguments of `whetstone train`."""
        settings = {
            "task": self.task, "method": self.method, "seed": self.seed, "operator": self.operator, "prior": self.prior,
        }  # fmt: skip
        session = RunSession(
            self.minutes or UNBOUNDED_MIN, self.max_steps, self.evaluate_every_min, self.evaluate_episodes
        )
        return train_arguments(self.name, runs, settings, session)


def resume_arguments(run: RunView, runs: Path) -> list[str]:
    """Arguments of `whetstone train` that go on with a run.

    Raises:
        RunRefusedError: What it was started with is not known.
    """
    if run.session is None or not run.settings:
        raise RunRefusedError(
            f"the run {run.name!r} does not say its budget: go on with it by whetstone train --run {run.name}, "
            "and what it was begun with"
        )
    return train_arguments(run.name, runs, run.settings, run.session)


def train_arguments(name: str, runs: Path, settings: Mapping[str, Any], session: RunSession) -> list[str]:
    """Arguments of `whetstone train`: a setting of a run has the name of its option."""
    budget = {
        "minutes": session.minutes, "max_steps": session.max_steps, "record": session.record, "device": session.device,
        "evaluate_every_min": session.evaluate_every_min, "evaluate_episodes": session.evaluate_episodes,
    }  # fmt: skip
    words = ["train", f"--run={name}", f"--runs={runs}"]
    for option, value in {**settings, **budget}.items():
        word = f"--{option.replace('_', '-')}"
        if value is True:
            words.append(word)
        elif value is not False and value != "":
            words.append(f"{word}={value}")
    return words
