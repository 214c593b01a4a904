# SPDX-License-Identifier: Apache-2.0
"""What a training run says of itself on the graph: who moved the arm, what was chosen, how the learner does."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from vla_interfaces.msg import Decision, Executed, Request

from whetstone_common.nodes import qos

_LEARNER = "learner_node"
# What the learner waits for when it will not go on by itself.
_HALTED = ("diverged", "out of memory")
Key = tuple[int, int]  # epoch and number of an episode


@dataclass(frozen=True)
class LearnerReport:
    """The learner's newest diagnostics; what it has not said is NaN, or 0, or empty.

    Attributes:
        updates: Gradient steps so far.
        updates_per_s: Of late.
        q_mean: Mean value of the last batch.
        critic_loss: Of the last batch.
        behind: Updates that it owes to the steps it was given.
        episodes: That it was given.
        version: Of the newest weights it has published.
        accepted: Newest version that steering has taken over.
        finished: It wants no more steps.
        waiting: What it waits for.
        problem: What went wrong last.
        heard_s: Monotonic time at which it was said, 0 when nothing was.
    """

    updates: int = 0
    updates_per_s: float = math.nan
    q_mean: float = math.nan
    critic_loss: float = math.nan
    behind: float = 0.0
    episodes: int = 0
    version: int = 0
    accepted: int = 0
    finished: bool = False
    waiting: str = ""
    problem: str = ""
    heard_s: float = 0.0

    @property
    def age_s(self) -> float:
        """How old the figures are; 0 when there are none."""
        return time.monotonic() - self.heard_s if self.heard_s else 0.0

    @property
    def halt(self) -> str:
        """Why it does not go on by itself; empty while it does."""
        return f"{self.waiting}: {self.problem}" if self.waiting in _HALTED else ""


def report_of(values: dict[str, str]) -> LearnerReport:
    """Report of the key/values of a diagnostics message."""
    return LearnerReport(
        updates=int(_number(values, "updates", 0.0)),
        updates_per_s=_number(values, "updates_per_s", math.nan),
        q_mean=_number(values, "q_mean", math.nan),
        critic_loss=_number(values, "critic_loss", math.nan),
        behind=_number(values, "behind", 0.0),
        episodes=int(_number(values, "episodes", 0.0)),
        version=int(_number(values, "version", 0.0)),
        accepted=int(_number(values, "accepted_version", 0.0)),
        finished=values.get("finished", "").lower() == "true",
        waiting=values.get("waiting", ""),
        problem=values.get("problem", ""),
    )


def _number(values: dict[str, str], key: str, missing: float) -> float:
    try:
        number = float(values[key])
    except (KeyError, ValueError):
        return missing
    return number if math.isfinite(number) else missing


class TrainingWatch:
    """Listens beside a training run.

    Attributes:
        learner: The learner's newest report.
        steps: Executed steps by episode.
        human_steps: Of them, those by a person.
        decisions: Chosen chunks by episode.
        edited: Of them, those that were not the VLA's own.
        played: Version of the newest decision by episode.
    """

    def __init__(self, subscribe: Callable[..., Any]) -> None:
        """Subscribe; `subscribe` takes kind, topic, callback and profile."""
        self.learner = LearnerReport()
        self.steps: Counter[Key] = Counter()
        self.human_steps: Counter[Key] = Counter()
        self.decisions: Counter[Key] = Counter()
        self.edited: Counter[Key] = Counter()
        self.played: dict[Key, int] = {}
        subscribe(Executed, "executed", self._on_executed, qos.RECORD)
        subscribe(Decision, "decision", self._on_decision, qos.RECORD)
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.RECORD)

    def _on_executed(self, msg: Executed) -> None:
        key = (msg.stamp.epoch, msg.stamp.episode)
        self.steps[key] += 1
        self.human_steps[key] += msg.actor == Executed.HUMAN

    def _on_decision(self, msg: Decision) -> None:
        if msg.request_kind != Request.ACT:
            return
        key = (msg.stamp.epoch, msg.stamp.episode)
        self.decisions[key] += 1
        self.edited[key] += msg.kind != Decision.BASE
        self.played[key] = int(msg.policy_version)

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if _LEARNER in status.name:
                said = report_of({pair.key: pair.value for pair in status.values})
                self.learner = replace(said, heard_s=time.monotonic())

    def forget_learner(self) -> None:
        """Drop the figures of a learner that is gone."""
        self.learner = LearnerReport()
