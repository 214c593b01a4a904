# SPDX-License-Identifier: Apache-2.0
"""Who says that an episode is over: simulator truth, a person, a learned classifier; one registry."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from robot_bringup.core.episodes import Outcome, Verdict


@dataclass(frozen=True)
class Truth:
    """A tick as the simulator knows it."""

    reset_id: int
    tick: int
    stamp_ns: int
    success: bool


@dataclass(frozen=True)
class Step:
    """A step that the arm executed."""

    steps: int
    stamp_ns: int


@dataclass(frozen=True)
class Mark:
    """A person's word: success, failure, abort or ready."""

    word: str
    stamp_ns: int


@dataclass(frozen=True)
class Score:
    """Probability of success by a classifier."""

    probability: float
    stamp_ns: int


Event = Truth | Step | Mark | Score


@dataclass(frozen=True)
class Settings:
    """What a judge may need to know.

    Attributes:
        max_steps: Ticks before the episode has timed out.
        reset_id: Of the simulator's reset, 0 on a real arm.
        start_tick: Tick of the simulator at which the arm was let go; in real time the world does not wait for it.
        threshold: Probability that counts as success.
        consecutive: Scores in a row above the threshold.
    """

    max_steps: int
    reset_id: int = 0
    start_tick: int = 0
    threshold: float = 0.9
    consecutive: int = 3


class Judge(Protocol):
    """Sees every event of an episode and ends it, at most once."""

    source: str

    def observe(self, event: Event) -> Verdict | None:
        """Verdict that this event leads to, None while the episode goes on."""


class SimTruth:
    """The simulator's own check, tick by tick: independent of wall time and of how messages interleave."""

    source = "sim_truth"

    def __init__(self, settings: Settings) -> None:
        """Judge the episode of one reset."""
        self._settings = settings

    def observe(self, event: Event) -> Verdict | None:
        """See `Judge.observe`."""
        if not isinstance(event, Truth) or event.reset_id < self._settings.reset_id:
            return None
        if event.reset_id > self._settings.reset_id:
            return Verdict(Outcome.ABORTED, 0, event.stamp_ns, self.source, "the simulator was reset by someone else")
        steps = max(0, event.tick - self._settings.start_tick)
        if event.success:
            return Verdict(Outcome.SUCCEEDED, steps, event.stamp_ns, self.source)
        if steps >= self._settings.max_steps:
            return Verdict(Outcome.TIMED_OUT, steps, event.stamp_ns, self.source)
        return None


class _StepCounter:
    """Time-out by executed steps, where no simulator counts ticks."""

    source = ""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._steps = 0

    def _count(self, event: Step) -> Verdict | None:
        self._steps = max(self._steps, event.steps)
        if self._steps < self._settings.max_steps:
            return None
        return Verdict(Outcome.TIMED_OUT, self._steps, event.stamp_ns, self.source)


class Operator(_StepCounter):
    """A person's success or failure mark."""

    source = "operator"

    def observe(self, event: Event) -> Verdict | None:
        """See `Judge.observe`."""
        if isinstance(event, Step):
            return self._count(event)
        outcome = {"success": Outcome.SUCCEEDED, "failure": Outcome.FAILED}.get(
            event.word if isinstance(event, Mark) else ""
        )
        if outcome is None:
            return None
        return Verdict(outcome, self._steps, event.stamp_ns, self.source)


class Classifier(_StepCounter):
    """A learned success detector: several confident scores in a row."""

    source = "classifier"

    def __init__(self, settings: Settings) -> None:
        """Judge by `settings.threshold` and `settings.consecutive`."""
        super().__init__(settings)
        self._in_a_row = 0

    def observe(self, event: Event) -> Verdict | None:
        """See `Judge.observe`."""
        if isinstance(event, Step):
            return self._count(event)
        if not isinstance(event, Score):
            return None
        confident = math.isfinite(event.probability) and event.probability >= self._settings.threshold
        self._in_a_row = self._in_a_row + 1 if confident else 0
        if self._in_a_row < self._settings.consecutive:
            return None
        return Verdict(Outcome.SUCCEEDED, self._steps, event.stamp_ns, self.source)


class _AbortMark:
    """A person may abort any episode, whoever judges it."""

    source = "operator"

    def observe(self, event: Event) -> Verdict | None:
        """See `Judge.observe`."""
        if isinstance(event, Mark) and event.word == "abort":
            return Verdict(Outcome.ABORTED, 0, event.stamp_ns, self.source, "aborted by the operator")
        return None


JUDGES: dict[str, Callable[[Settings], Judge]] = {
    SimTruth.source: SimTruth,
    Operator.source: Operator,
    Classifier.source: Classifier,
}


class Panel:
    """Several judges; the first verdict counts and no later event changes it."""

    def __init__(self, sources: list[str], settings: Settings) -> None:
        """Seat the judges named by `sources`.

        Raises:
            ValueError: No source, or an unknown one.
        """
        unknown = [name for name in sources if name not in JUDGES]
        if unknown or not sources:
            raise ValueError(f"reward sources {sources}: choose from {', '.join(sorted(JUDGES))}")
        self._judges: list[Judge] = [_AbortMark(), *(JUDGES[name](settings) for name in sources)]
        self.verdict: Verdict | None = None

    def observe(self, event: Event) -> None:
        """Show an event to every judge."""
        for judge in self._judges:
            verdict = judge.observe(event)
            if self.verdict is None:
                self.verdict = verdict
