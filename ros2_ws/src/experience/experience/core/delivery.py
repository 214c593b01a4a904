# SPDX-License-Identifier: Apache-2.0
"""Publish, wait for the acknowledgement, publish again: the sender's side. Time is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from whetstone_common.core.epochs import EpochTracker

_MAX_RESEND_S = 30.0
_BACK_OFF = 2.0
_LEARNER_SILENT_S = 5.0  # one that runs acknowledges once a second


@dataclass(frozen=True)
class Ack:
    """What a learner says that it has.

    Attributes:
        run: Name of the run.
        spool: Identity of the spool.
        learner_epoch: Identity of the learner's process.
        through: Every transition up to here is stored.
    """

    run: str
    spool: int
    learner_epoch: int
    through: int


class AckResult(Enum):
    """What became of an acknowledgement; the values are counter names."""

    TAKEN = "acks"
    FOREIGN = "acks_foreign"  # of another run or spool
    LATE = "acks_late"  # of a learner that has been replaced, or overtaken on the way
    IMPOSSIBLE = "acks_impossible"  # of what was never sent


class Delivery:
    """Which transitions are to be published next.

    Args:
        run: Name of the run.
        spool: Identity of the spool.
        in_flight: How many may be published and not acknowledged.
        resend_s: Unacknowledged transitions are published again after this long; doubles while nobody answers.
        acknowledged: What had been acknowledged before.
    """

    def __init__(self, run: str, spool: int, *, in_flight: int, resend_s: float, acknowledged: int = 0) -> None:
        self._run, self._spool = run, spool
        self.in_flight, self.resend_s = in_flight, resend_s
        self._learners = EpochTracker(_LEARNER_SILENT_S)
        self._progress_s = 0.0
        self._wait_s = resend_s
        self.acknowledged = self.sent = acknowledged
        self.resends = 0

    def on_ack(self, ack: Ack, last: int, now_s: float) -> AckResult:
        """Take an acknowledgement.

        Args:
            ack: It.
            last: Newest stored sequence number.
            now_s: Steady clock.
        """
        if (ack.run, ack.spool) != (self._run, self._spool):
            return AckResult.FOREIGN
        is_same = ack.learner_epoch == self._learners.followed
        # One that was replaced never counts again: what it says of others' transitions is of the past.
        if not is_same and self._learners.is_known(ack.learner_epoch):
            return AckResult.LATE
        if ack.through > last:
            return AckResult.IMPOSSIBLE
        if not self._learners.counts(ack.learner_epoch, now_s):
            return AckResult.LATE  # the one before has only just spoken
        self._learners.observe(ack.learner_epoch, now_s)
        if not is_same:
            # Another process: what it has counts, be it less than its predecessor had.
            self.acknowledged = self.sent = ack.through
            self._progress(now_s)
            return AckResult.TAKEN
        if ack.through < self.acknowledged:
            return AckResult.LATE
        if ack.through > self.acknowledged:
            self.acknowledged = ack.through
            self.sent = max(self.sent, ack.through)
            self._progress(now_s)
        return AckResult.TAKEN

    def next(self, first: int, last: int, now_s: float) -> tuple[int, int]:
        """(after, count): publish `count` transitions that follow sequence number `after`.

        Args:
            first: Oldest stored sequence number.
            last: Newest one.
            now_s: Steady clock.
        """
        self.acknowledged = max(self.acknowledged, first - 1)  # what was dropped cannot be sent
        self.sent = max(self.sent, self.acknowledged)
        if self.sent == self.acknowledged:
            self._progress_s = now_s
        elif now_s - self._progress_s >= self._wait_s:
            self.sent = self.acknowledged
            self.resends += 1
            self._progress_s = now_s
            self._wait_s = min(self._wait_s * _BACK_OFF, _MAX_RESEND_S)
        return self.sent, max(0, min(last, self.acknowledged + self.in_flight) - self.sent)

    def published(self, through: int) -> None:
        """Everything up to `through` went out."""
        self.sent = max(self.sent, through)

    def _progress(self, now_s: float) -> None:
        self._progress_s, self._wait_s = now_s, self.resend_s
