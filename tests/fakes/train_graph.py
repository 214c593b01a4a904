# SPDX-License-Identifier: Apache-2.0
"""Stands in for the client of a stack that trains: an episode takes a while to be stored and to reach the learner."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from vla_interfaces.msg import LearnerStatus, StorageStatus

from whetstone_cli.cli.evaluate import EvalOptions
from whetstone_cli.core.report import Evaluation, rows_of
from whetstone_common.core.enums import Outcome

_TURNS = 40


class SlowGraph:
    """What the command sees of the graph.

    Attributes:
        played: Episodes so far.
        arrived: Of them, those that the learner has heard of.
        stored: Of them, those that are on the disk.
        damaged: Stored transitions that cannot be read.
        failure: Why the learner is in error, empty while it is not.
        full: What keeps storage from being ready, empty while it is.
        loses: Numbers of the episodes that are not stored, from 1.
        dies_in: Number of the episode in which the learner dies, 0 for none.
        comes_back: Whether it is started again.
    """

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.played = self.arrived = self.stored = self.damaged = 0
        self.full = self.failure = ""
        self.loses: set[int] = set()
        self.dies_in, self.comes_back = 0, True
        self.is_dead = False
        self.epoch = 1
        self._turns = 0

    def subscribe(self, kind: type, _topic: str, callback: Callable[[Any], None], _profile: Any) -> None:
        """Keep what the learner's status goes to."""
        if kind is LearnerStatus:
            self._report = callback

    def spin_until(self, condition: Callable[[], bool], _timeout_s: float) -> bool:
        """Look again and again, while the graph goes on."""
        for turn in itertools.count():
            self._turn()
            if condition():
                return True
            if turn >= _TURNS:
                return False
        raise AssertionError

    def _turn(self) -> None:
        self._turns += 1
        if self.is_dead and self.comes_back and self._turns > _TURNS // 2:
            self.is_dead, self.epoch = False, self.epoch + 1
        self.arrived = self.stored if self._turns > 2 and not self.is_dead else self.arrived
        if not self.is_dead:
            self._report(LearnerStatus(episodes=self.arrived, waits_for=LearnerStatus.DATA))

    def evaluate(self, _client: Any, task: str, wanted: EvalOptions, _feedback: Any) -> Evaluation:
        """Play an episode."""
        self.played, self._turns = self.played + 1, 0
        self.stored += self.played not in self.loses
        self.is_dead = self.is_dead or self.played == self.dies_in
        rows = rows_of(task, "", seeds=[wanted.seed], outcomes=[Outcome.SUCCEEDED], steps=[40], durations_s=[2.0])
        return Evaluation(task, "", rows, 1.0)

    def storage(self, node: str) -> StorageStatus:
        """What transition_node has stored, and what of it is damaged."""
        assert node == "transition_node"
        return StorageStatus(episodes_stored=self.stored, records_damaged=self.damaged)

    def failed(self, nodes: Sequence[str]) -> str:
        """Who is in error."""
        return self.failure if "learner_node" in nodes else ""

    def epoch_of(self, _node: str) -> int:
        """Which process of the learner speaks."""
        return self.epoch

    def silence_s(self, _node: str) -> float:
        """Of the learner."""
        return 99.0 if self.is_dead else 0.0

    def not_ready(self, _nodes: Any) -> str:
        """What keeps storage from being ready."""
        return "learner_node has said nothing for 99 s" if self.is_dead else self.full

    def trouble(self) -> str:
        """Who holds."""
        return self.full
