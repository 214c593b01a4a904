# SPDX-License-Identifier: Apache-2.0
"""What a training run takes in: each transition once, of one contract, as a window of its replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from experience.core.ledger import ReceivedSequence, ReceiveResult
from experience.core.transition import Transition
from rl_learner.core.intake import MissingImagesError, RunStatistics, window_of
from rl_learner.core.run_data import RunData

_EARLIER_COUNTS = {"other_discount"}  # in checkpoints of releases whose transitions held discounted rewards


class TransitionIntake:
    """Turns transitions into windows, and keeps count.

    Args:
        data: Where windows are kept.
        contract_hash: Contract that all numbers are in; empty for any.
        discount: Of rewards, per control step.

    Attributes:
        data: What the run learns from.
        contract_hash: As given.
        receipts: Which transitions are in the replay.
        tally: What they amount to.
        mismatch: Why the last transition without images was refused, empty when there was none.
    """

    def __init__(self, data: RunData, *, contract_hash: str, discount: float) -> None:
        self.data, self.contract_hash, self._discount = data, contract_hash, discount
        self.receipts, self.tally = ReceivedSequence(), RunStatistics()
        self.mismatch = ""

    def receive(self, transition: Transition, spool: int, seq: int) -> ReceiveResult:
        """Book a transition; one that is NEW is to be kept.

        Raises:
            ValueError: It is of another contract or spool; it does not count as received.
        """
        if self.receipts.spool not in (0, spool):
            raise ValueError(f"spool {spool}, this run's is {self.receipts.spool}: its transitions were exchanged")
        self._check_contract(transition)
        return self.receipts.receive(spool, seq)

    def skip_to(self, first: int) -> None:
        """The sender has nothing before `first` any more."""
        self.tally.lost += self.receipts.skip_to(first)

    def keep(self, transition: Transition, *, is_of_base: bool) -> bool:
        """Put the window of a transition into the replay; returns whether the method learns from it.

        Raises:
            ValueError: It does not fit; it is counted as refused.
        """
        try:
            window = window_of(transition, self.data.shape, self._discount)
            is_kept = self.data.keep(window, is_critical=transition.critical_phase, is_of_base=is_of_base)
        except ValueError as error:
            if isinstance(error, MissingImagesError):
                self.tally.without_images += 1
                self.mismatch = str(error)
            self.tally.refused += 1
            raise
        self.tally.windows += is_kept
        return is_kept

    def add_prior(self, transition: Transition) -> None:
        """Keep a transition of another run, which every batch has its share of.

        Raises:
            ValueError: It does not fit.
        """
        self._check_contract(transition)
        self.data.add_prior(window_of(transition, self.data.shape, self._discount))

    def _check_contract(self, transition: Transition) -> None:
        if self.contract_hash and transition.contract_hash != self.contract_hash:
            raise ValueError(f"contract {transition.contract_hash[:12]}, this run's is {self.contract_hash[:12]}")

    # -- as a checkpoint ----------------------------------------------------------------------------------------------

    def notes(self) -> dict[str, Any]:
        """Receipts and counts in terms of JSON; the windows are in `data.state()`."""
        receipts = {"spool": str(self.receipts.spool), "through": self.receipts.through}
        return {"receipts": receipts, "tally": asdict(self.tally)}

    def restore(self, replays: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Take back the windows, and what `notes` gave.

        Raises:
            KeyError: Something is missing.
            ValueError: The windows do not fit.
        """
        self.data.restore(replays)
        self.receipts = ReceivedSequence(int(notes["receipts"]["spool"]), notes["receipts"]["through"])
        noted = {k: v for k, v in notes["tally"].items() if k not in _EARLIER_COUNTS}
        counted: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in noted.items()}
        self.tally = RunStatistics(**counted)
