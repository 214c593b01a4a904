# SPDX-License-Identifier: Apache-2.0
"""What a training run says of itself on the graph: who moved the arm, what was chosen, how the learner does."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vla_interfaces.msg import Decision, Executed, LearnerStatus, Request

from whetstone_common.nodes import qos

# What the learner waits for, in words.
_WAITS = {
    LearnerStatus.NOTHING: "",
    LearnerStatus.CONTRACT: "waits for the policy's contract",
    LearnerStatus.BASE_EPISODES: "waits for base episodes",
    LearnerStatus.DATA: "waits for data",
    LearnerStatus.UPDATES: "behind: transitions wait in the spool",
    LearnerStatus.NO_MORE: "finished",
    LearnerStatus.FROZEN: "frozen",
    LearnerStatus.DIVERGED: "diverged",
    LearnerStatus.OUT_OF_MEMORY: "out of memory",
}
# It will not go on by itself.
_HALTED = (LearnerStatus.DIVERGED, LearnerStatus.OUT_OF_MEMORY)
Key = tuple[int, int]  # epoch and number of an episode


@dataclass(frozen=True)
class LearnerReport:
    """The learner's newest status; what is not known is NaN, 0 or empty.

    Attributes:
        updates: Gradient steps so far.
        updates_per_s: Of late.
        q_mean: Mean value of the last batch.
        critic_loss: Of the last batch.
        behind: Pending updates.
        episodes: That it was given.
        version: Of the newest weights it has published.
        accepted: Newest version that steering has taken over.
        finished: It wants no more steps.
        waits_for: As in vla_interfaces/LearnerStatus.
        problem: What went wrong last.
        evaluating: Whether its newest weights are published for a round of evaluation.
        evaluations: Rounds that it has judged.
        verdict: Of the last one.
        guard: Which weights it has withdrawn, and why; empty for none.
        heard_s: Monotonic time at which it was said, 0 when nothing was.
    """

    updates: int = 0
    updates_per_s: float = math.nan
    q_mean: float = math.nan
    critic_loss: float = math.nan
    behind: int = 0
    episodes: int = 0
    version: int = 0
    accepted: int = 0
    finished: bool = False
    waits_for: int = LearnerStatus.NOTHING
    problem: str = ""
    evaluating: bool = False
    evaluations: int = 0
    verdict: str = ""
    guard: str = ""
    heard_s: float = 0.0

    @property
    def age_s(self) -> float:
        """How old the figures are; 0 when there are none."""
        return time.monotonic() - self.heard_s if self.heard_s else 0.0

    @property
    def halt(self) -> str:
        """Why it does not go on by itself; empty while it does."""
        return f"{self.waiting}: {self.problem}" if self.waits_for in _HALTED else ""

    @property
    def waiting(self) -> str:
        """What it waits for, in words; empty while it learns."""
        return _WAITS[self.waits_for]


def report_of(msg: LearnerStatus, heard_s: float = 0.0) -> LearnerReport:
    """Report of a message."""
    return LearnerReport(
        updates=int(msg.updates),
        updates_per_s=float(msg.updates_per_s),
        q_mean=float(msg.mean_target),
        critic_loss=float(msg.critic_loss),
        behind=int(msg.pending_updates),
        episodes=int(msg.episodes),
        version=int(msg.version),
        accepted=int(msg.accepted_version),
        finished=bool(msg.finished),
        waits_for=int(msg.waits_for),
        problem=msg.problem,
        evaluating=bool(msg.evaluating),
        evaluations=int(msg.evaluations),
        verdict=msg.verdict,
        guard=msg.guard,
        heard_s=heard_s,
    )


class LearnerWatch:
    """Listens to the learner of a run.

    Attributes:
        report: Its newest report.
    """

    def __init__(self, subscribe: Callable[..., Any]) -> None:
        """Subscribe; `subscribe` takes kind, topic, callback and profile."""
        self.report = LearnerReport()
        subscribe(LearnerStatus, "learner_status", self._on_status, qos.LATCHED)

    def _on_status(self, msg: LearnerStatus) -> None:
        self.report = report_of(msg, time.monotonic())

    def forget(self) -> None:
        """Drop the figures of a learner that is gone."""
        self.report = LearnerReport()


class TrainingWatch:
    """Listens beside a training run.

    Attributes:
        steps: Executed steps by episode.
        human_steps: Of them, those under human control.
        decisions: Chosen chunks by episode.
        edited: Of them, those that were not the VLA's own.
        played: Version of the newest decision by episode.
    """

    def __init__(self, subscribe: Callable[..., Any]) -> None:
        """Subscribe; `subscribe` takes kind, topic, callback and profile."""
        self._learner = LearnerWatch(subscribe)
        self.steps: Counter[Key] = Counter()
        self.human_steps: Counter[Key] = Counter()
        self.decisions: Counter[Key] = Counter()
        self.edited: Counter[Key] = Counter()
        self.played: dict[Key, int] = {}
        subscribe(Executed, "executed", self._on_executed, qos.RECORD)
        subscribe(Decision, "decision", self._on_decision, qos.RECORD)

    @property
    def learner(self) -> LearnerReport:
        """The learner's newest report."""
        return self._learner.report

    def forget_learner(self) -> None:
        """Drop the figures of a learner that is gone."""
        self._learner.forget()

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
