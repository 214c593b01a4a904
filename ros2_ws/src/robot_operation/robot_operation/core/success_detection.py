# SPDX-License-Identifier: Apache-2.0
"""Success detectors, which end an episode: simulator truth, operator, learned classifier; one registry."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from robot_operation.core.episodes import EpisodeResult
from robot_operation.core.marks import Mark
from whetstone_common.core.enums import Outcome


@dataclass(frozen=True)
class TruthSample:
    """A tick as the simulator knows it."""

    reset_id: int
    tick: int
    stamp_ns: int
    success: bool


@dataclass(frozen=True)
class StepCount:
    """A step that the arm executed."""

    steps: int
    stamp_ns: int


@dataclass(frozen=True)
class MarkEvent:
    """An operator's mark."""

    mark: Mark
    stamp_ns: int


@dataclass(frozen=True)
class Score:
    """Probability of success by a classifier."""

    probability: float
    stamp_ns: int


Event = TruthSample | StepCount | MarkEvent | Score


@dataclass(frozen=True)
class DetectorSettings:
    """What a detector may need to know.

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


class SuccessDetector(Protocol):
    """Sees every event of an episode and ends it, at most once."""

    source: str

    def observe(self, event: Event) -> EpisodeResult | None:
        """Result that this event leads to, None while the episode goes on."""


class SimTruthDetector:
    """The simulator's own check, tick by tick: independent of wall time and of how messages interleave."""

    source = "sim_truth"

    def __init__(self, settings: DetectorSettings) -> None:
        """Watch the episode of one reset."""
        self._settings = settings

    def observe(self, event: Event) -> EpisodeResult | None:
        """See `SuccessDetector.observe`."""
        if not isinstance(event, TruthSample) or event.reset_id < self._settings.reset_id:
            return None
        if event.reset_id > self._settings.reset_id:
            return EpisodeResult(
                Outcome.ABORTED, 0, event.stamp_ns, self.source, "the simulator was reset by someone else"
            )
        steps = max(0, event.tick - self._settings.start_tick)
        if event.success:
            return EpisodeResult(Outcome.SUCCEEDED, steps, event.stamp_ns, self.source)
        if steps >= self._settings.max_steps:
            return EpisodeResult(Outcome.TIMED_OUT, steps, event.stamp_ns, self.source)
        return None


_JUDGED = {Mark.SUCCESS: Outcome.SUCCEEDED, Mark.FAILURE: Outcome.FAILED}


class _StepCounter:
    """Time-out by steps: those that the arm executed, or the ticks of a simulator."""

    source = ""

    def __init__(self, settings: DetectorSettings) -> None:
        self._settings = settings
        self._steps = 0

    def _count(self, event: StepCount | TruthSample) -> EpisodeResult | None:
        self._steps = max(self._steps, self._steps_of(event))
        if self._steps < self._settings.max_steps:
            return None
        return EpisodeResult(Outcome.TIMED_OUT, self._steps, event.stamp_ns, self.source)

    def _steps_of(self, event: StepCount | TruthSample) -> int:
        if isinstance(event, StepCount):
            return event.steps
        return event.tick - self._settings.start_tick if event.reset_id == self._settings.reset_id else 0


class OperatorDetector(_StepCounter):
    """An operator's success or failure mark."""

    source = "operator"

    def observe(self, event: Event) -> EpisodeResult | None:
        """See `SuccessDetector.observe`."""
        if isinstance(event, StepCount | TruthSample):
            return self._count(event)
        outcome = _JUDGED.get(event.mark) if isinstance(event, MarkEvent) else None
        if outcome is None:
            return None
        return EpisodeResult(outcome, self._steps, event.stamp_ns, self.source)


class ClassifierDetector(_StepCounter):
    """A learned success detector: several confident scores in a row."""

    source = "classifier"

    def __init__(self, settings: DetectorSettings) -> None:
        """Detect by `settings.threshold` and `settings.consecutive`."""
        super().__init__(settings)
        self._in_a_row = 0

    def observe(self, event: Event) -> EpisodeResult | None:
        """See `SuccessDetector.observe`."""
        if isinstance(event, StepCount | TruthSample):
            return self._count(event)
        if not isinstance(event, Score):
            return None
        confident = math.isfinite(event.probability) and event.probability >= self._settings.threshold
        self._in_a_row = self._in_a_row + 1 if confident else 0
        if self._in_a_row < self._settings.consecutive:
            return None
        return EpisodeResult(Outcome.SUCCEEDED, self._steps, event.stamp_ns, self.source)


class _AbortMark:
    """An operator may abort any episode, whichever detector is used."""

    source = "operator"

    def observe(self, event: Event) -> EpisodeResult | None:
        """See `SuccessDetector.observe`."""
        if isinstance(event, MarkEvent) and event.mark is Mark.ABORT:
            return EpisodeResult(Outcome.ABORTED, 0, event.stamp_ns, self.source, "aborted by the operator")
        return None


DETECTORS: dict[str, Callable[[DetectorSettings], SuccessDetector]] = {
    SimTruthDetector.source: SimTruthDetector,
    OperatorDetector.source: OperatorDetector,
    ClassifierDetector.source: ClassifierDetector,
}


class DetectorPanel:
    """Several detectors; the first result counts and no later event changes it."""

    def __init__(self, sources: list[str], settings: DetectorSettings) -> None:
        """Make the detectors named by `sources`.

        Raises:
            ValueError: No source, or an unknown one.
        """
        unknown = [name for name in sources if name not in DETECTORS]
        if unknown or not sources:
            raise ValueError(f"reward sources {sources}: choose from {', '.join(sorted(DETECTORS))}")
        self._detectors: list[SuccessDetector] = [_AbortMark(), *(DETECTORS[name](settings) for name in sources)]
        self.result: EpisodeResult | None = None

    def observe(self, event: Event) -> None:
        """Pass an event to every detector."""
        for detector in self._detectors:
            result = detector.observe(event)
            if self.result is None:
                self.result = result
