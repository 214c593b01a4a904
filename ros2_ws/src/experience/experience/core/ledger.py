# SPDX-License-Identifier: Apache-2.0
"""What became of every episode, and what a learner has received: nothing is lost or doubled without a word."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

EPISODE_SCHEMA = 1


@dataclass(frozen=True)
class EpisodeEntry:
    """How an episode went into the books.

    Attributes:
        epoch: Of the arm.
        episode: Within the epoch.
        outcome: succeeded, failed, timed_out, aborted, or unknown.
        task: Name of the task.
        steps: Executed steps.
        transitions: How many were stored.
        dropped: Why the episode was dropped, empty when it was not.
        unused: Windows or decisions that gave no transition, by reason.
    """

    epoch: int
    episode: int
    outcome: str = "unknown"
    task: str = ""
    steps: int = 0
    transitions: int = 0
    dropped: str = ""
    unused: tuple[tuple[str, int], ...] = ()

    @property
    def key(self) -> tuple[int, int]:
        """(epoch, episode)."""
        return self.epoch, self.episode

    def to_bytes(self) -> bytes:
        """JSON."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> EpisodeEntry:
        """Entry of JSON.

        Raises:
            ValueError: It is not one.
        """
        try:
            body: dict[str, Any] = json.loads(payload)
            unused = tuple((str(name), int(count)) for name, count in body.pop("unused"))
            return cls(**body, unused=unused)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not an episode entry: {error}") from error


class ReceiveResult(Enum):
    """What to do with a transition that arrived."""

    NEW = "new"  # store it
    DUPLICATE = "duplicate"  # stored before
    GAP = "gap"  # one before it is missing: fetch, or wait until it is sent again


class ReceivedSequence:
    """What a receiver has stored of one spool: sequence numbers grow by one, each is stored once.

    Save `through` with what was stored, and start from it again: then a crash between the two neither loses nor
    doubles anything.
    """

    def __init__(self, spool: int = 0, through: int = 0) -> None:
        """Continue.

        Args:
            spool: Identity of the spool that `through` belongs to, 0 for none yet.
            through: Everything up to here is stored.
        """
        self.spool = spool
        self.through = through
        self.duplicates = 0
        self.gaps = 0

    def receive(self, spool: int, seq: int) -> ReceiveResult:
        """Judge a transition; NEW counts as stored from now on."""
        if self.spool == 0:
            self.spool = spool
        if spool != self.spool or seq <= self.through:
            self.duplicates += 1
            return ReceiveResult.DUPLICATE
        if seq > self.through + 1:
            self.gaps += 1
            return ReceiveResult.GAP
        self.through = seq
        return ReceiveResult.NEW

    def skip_to(self, first: int) -> int:
        """The sender no longer has what came before `first`; returns how many are lost."""
        lost = max(0, first - 1 - self.through)
        self.through += lost
        return lost
