# SPDX-License-Identifier: Apache-2.0
"""What a training run takes in: each transition once, of one contract, as a window of its replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experience.core.ledger import ReceiveResult
from experience.core.transition import Transition
from rl_learner.core.intake import MissingImagesError, RunStatistics, window_of
from rl_learner.core.receipts import SOLE, Receipts
from rl_learner.core.run_data import RunData


class TransitionIntake:
    """Turns transitions into windows, and keeps count.

    Args:
        data: Where windows are kept.
        contract_hash: Contract that all numbers are in; empty for any.
        discount: Of rewards, per control step.
        robots: Names of the robots that feed the run.

    Attributes:
        data: What the run learns from.
        contract_hash: As given.
        receipts: Which transitions of each robot are in the replay.
        tally: What they amount to.
        mismatch: Why the last transition without images was refused, empty when there was none.
    """

    def __init__(self, data: RunData, *, contract_hash: str, discount: float, robots: Sequence[str] = (SOLE,)) -> None:
        self.data, self.contract_hash, self._discount = data, contract_hash, discount
        self.receipts, self.tally = Receipts(robots), RunStatistics()
        self.mismatch = ""

    def receive(self, transition: Transition, spool: int, seq: int, robot: str = SOLE) -> ReceiveResult:
        """Book a transition of a robot; one that is NEW is to be kept.

        Raises:
            ValueError: It is of another contract or spool; it does not count as received.
        """
        self._check_contract(transition)
        self._bind(robot, spool)
        return self.receipts.of(robot).receive(spool, seq)

    def skip_to(self, first: int, spool: int, robot: str = SOLE) -> None:
        """The sender has nothing before `first` any more.

        Raises:
            ValueError: It has another spool than before.
        """
        self._bind(robot, spool)
        self.tally.lost += self.receipts.of(robot).skip_to(first)

    def _bind(self, robot: str, spool: int) -> None:
        former = self.receipts.bind(robot, spool)
        if former is not None:
            self.tally.rename(former, robot)

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
        return {**self.receipts.notes(), "tally": self.tally.notes()}

    def restore(self, replays: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Take back the windows, and what `notes` gave.

        Raises:
            KeyError: Something is missing.
            ValueError: The windows do not fit.
        """
        self.data.restore(replays)
        self.receipts.restore(notes)
        self.tally = RunStatistics.of_notes(notes["tally"])
