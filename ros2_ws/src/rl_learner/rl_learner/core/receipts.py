# SPDX-License-Identifier: Apache-2.0
"""What a training run has received of each robot that feeds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experience.core.ledger import ReceivedSequence

SOLE = ""  # name of the robot of a run that only one feeds


class Receipts:
    """One sequence per robot; each robot has a spool of its own, and keeps it for the whole run.

    Args:
        robots: Names of those that feed the run now.
    """

    def __init__(self, robots: Sequence[str] = (SOLE,)) -> None:
        self._of = {robot: ReceivedSequence() for robot in robots}
        self._former: dict[str, ReceivedSequence] = {}  # of robots that fed the run before, and do not now

    @property
    def robots(self) -> tuple[str, ...]:
        """Names of the robots that feed the run now."""
        return tuple(self._of)

    def of(self, robot: str) -> ReceivedSequence:
        """Of one robot."""
        return self._of[robot]

    @property
    def through(self) -> int:
        """Transitions of all robots that were taken in or are lost."""
        return sum(each.through for each in self._of.values())

    @property
    def duplicates(self) -> int:
        """Transitions that came again, of all robots."""
        return sum(each.duplicates for each in self._of.values())

    @property
    def gaps(self) -> int:
        """Transitions that came too early, of all robots."""
        return sum(each.gaps for each in self._of.values())

    def bind(self, robot: str, spool: int) -> str | None:
        """A robot sends from a spool; returns the former name of a robot that has sent from it, None without one.

        Raises:
            ValueError: It has sent from another one before, or another robot sends from this one.
        """
        own = self._of[robot]
        if own.spool == spool:
            return None
        if own.spool:
            raise ValueError(f"spool {spool}, this run's is {own.spool}: its transitions were exchanged")
        for other, each in self._of.items():
            if each.spool == spool:
                raise ValueError(f"spool {spool} is the one of {other}: each robot has transitions of its own")
        for former, each in self._former.items():
            if each.spool == spool:
                self._of[robot] = self._former.pop(former)
                return former
        own.spool = spool
        return None

    # -- as a checkpoint ----------------------------------------------------------------------------------------------

    def notes(self) -> dict[str, Any]:
        """In terms of JSON: that of a sole robot as `receipts`, those of robots with a name as `robots`."""
        known = {**self._former, **self._of}
        noted = {name: {"spool": str(each.spool), "through": each.through} for name, each in known.items()}
        sole = {"receipts": noted.pop(SOLE)} if SOLE in noted else {}
        return sole | ({"robots": noted} if noted else {})

    def restore(self, notes: Mapping[str, Any]) -> None:
        """Take back what `notes` gave; robots that do not feed the run now are remembered.

        Raises:
            KeyError: Something is missing.
        """
        noted = {} if "robots" in notes and "receipts" not in notes else {SOLE: notes["receipts"]}
        for name, each in {**noted, **notes.get("robots", {})}.items():
            restored = ReceivedSequence(int(each["spool"]), each["through"])
            (self._of if name in self._of else self._former)[name] = restored
