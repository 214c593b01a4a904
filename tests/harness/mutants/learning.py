# SPDX-License-Identifier: Apache-2.0
"""Removed protections of the learner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.mutants import replace

_LEARNER = "rl_learner.core"


def receipts_are_forgotten() -> None:
    """After a resume nobody knows which transitions the replay holds."""
    from rl_learner.core.receipts import Receipts

    def restore(self: Any, *args: Any) -> None:
        original(self, *args)
        self.intake.receipts = Receipts(self.receipts.robots)

    original = replace(f"{_LEARNER}.training_run:TrainingRun._restore", restore)


def draws_begin_again() -> None:
    """After a resume the random numbers start from the seed."""

    def restore(self: Any, *args: Any) -> None:
        original(self, *args)
        self.learning.generator.manual_seed(self.seed)

    original = replace(f"{_LEARNER}.training_run:TrainingRun._restore", restore)


def versions_begin_again() -> None:
    """Versions are counted from 1 in every process."""
    replace(f"{_LEARNER}.versions:_read", lambda _path: 0)


def everything_is_new() -> None:
    """What comes is taken in, however often it comes."""
    from experience.core.ledger import ReceiveResult

    def offer(self: Any, spool: int, seq: int) -> ReceiveResult:
        self.spool, self.through = spool, max(self.through, seq)
        return ReceiveResult.NEW

    replace("experience.core.ledger:ReceivedSequence.receive", offer)


def lost_is_not_noticed() -> None:
    """What the sender has dropped is waited for."""
    replace("experience.core.ledger:ReceivedSequence.skip_to", lambda _self, _first: 0)


def band_is_ignored() -> None:
    """Transitions are taken in as they come, however much is owed."""
    replace(f"{_LEARNER}.training_run:TrainingRun.has_room", lambda _self: True)


def gradients_are_believed() -> None:
    """A step is taken whatever it is."""
    replace("rl_methods.common.guard:Guard._judge", lambda *_args: None)


def checkpoints_are_believed() -> None:
    """The newest folder is the newest checkpoint, hashes and manifest unread."""
    from pathlib import Path

    def latest(directory: Path) -> tuple[Path | None, list[str]]:
        return (sorted(directory.glob("step-*")) or [None])[-1], []

    replace(f"{_LEARNER}.checkpoint:latest", latest)


def damage_ends_a_segment() -> None:
    """Nothing behind a damaged record is looked at."""
    from experience.core.spool.scan import Damage

    def damaged(view: Any, _data: bytes, start: int, _before: int | None, text: str) -> Damage:
        return Damage(start, len(view), 1, text)

    replace("experience.core.spool.scan:_damaged", damaged)


def epochs_are_times() -> None:
    """The larger epoch is the newer one."""
    epochs = "whetstone_common.core.epochs:EpochTracker"
    replace(f"{epochs}.counts", lambda self, epoch, _now_s: epoch >= self.followed)


def recorder_names_nobody() -> None:
    """The recorder does not say whom it hears."""
    replace("experience.nodes.known_sources:KnownSources.note", lambda _self, _topic, _epoch: None)


LEARNING: dict[str, Callable[[], None]] = {
    mutation.__name__: mutation
    for mutation in (
        band_is_ignored,
        checkpoints_are_believed,
        damage_ends_a_segment,
        draws_begin_again,
        epochs_are_times,
        everything_is_new,
        gradients_are_believed,
        lost_is_not_noticed,
        receipts_are_forgotten,
        recorder_names_nobody,
        versions_begin_again,
    )
}
