# SPDX-License-Identifier: Apache-2.0
"""For how much of an episode the robot was not driven, and which nodes held; time is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class HoldLimits:
    """How much holding an episode bears.

    Attributes:
        longest_s: Longest hold in a row, in the episode's own time (s).
        share: Largest part of the episode's time that may be held, 0..1.
    """

    longest_s: float
    share: float


@dataclass
class _Held:
    """What is known of one node's holding: sum (s) and newest reason in words."""

    total_s: float = 0.0
    text: str = ""


class HoldTimes:
    """Sums up the holding of all nodes of one episode.

    The time is that of the episode: ticks of a simulator where there is one, so that a world in lockstep that waits
    for a slow machine counts for nothing.
    """

    def __init__(self, now_s: float) -> None:
        """Begin an episode in which nobody holds yet (s)."""
        self._begun_s = self._now_s = now_s
        self._since_s: float | None = None
        self._total_s = 0.0
        self._held: dict[str, _Held] = {}
        self._holding: tuple[str, ...] = ()

    def update(self, now_s: float, holding: Mapping[str, str]) -> None:
        """Take who holds from now on.

        Args:
            now_s: The episode's time (s); a time that goes back counts as no time.
            holding: State and reason in words, by node.
        """
        passed_s = max(0.0, now_s - self._now_s)
        self._now_s = max(now_s, self._now_s)
        for name in self._holding:
            self._held[name].total_s += passed_s
        if self._holding:
            self._total_s += passed_s
        for name, text in holding.items():
            self._held.setdefault(name, _Held()).text = text
        self._holding = tuple(holding)
        if not holding:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = self._now_s

    def problem(self, limits: HoldLimits) -> str:
        """Why the episode must not go on, empty while it may."""
        row_s = 0.0 if self._since_s is None else self._now_s - self._since_s
        return f"held for {row_s:.1f} s in a row: {self._names()}" if row_s > limits.longest_s else ""

    def result_problem(self, limits: HoldLimits) -> str:
        """Why an episode that has ended says nothing about the policy, empty when it does."""
        lasted_s = self._now_s - self._begun_s
        if self._total_s <= limits.share * lasted_s:
            return ""
        return f"held for {self._total_s:.1f} of {lasted_s:.1f} s: {self._names()}"

    def _names(self) -> str:
        """Nodes and their reasons, the one that held longest first."""
        ordered = sorted(self._held.items(), key=lambda item: -item[1].total_s)
        return "; ".join(f"{name} held {held.total_s:.1f} s ({held.text})" for name, held in ordered)
