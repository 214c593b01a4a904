# SPDX-License-Identifier: Apache-2.0
"""Which of the nodes that an episode needs are alive and well; time is passed in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from whetstone_common.core.reason import Reason, State, sentence

_WELL = {State.READY, State.RUNNING}
# Holding is not well, but what was observed and published before a reset of the scene may be what it waits for.
_WORKING = _WELL | {State.HOLDING}
_BROKEN = {State.ERROR, State.FINALIZED}


@dataclass(frozen=True)
class Report:
    """Newest status of a node."""

    epoch_ns: int
    state: State
    reason: Reason
    detail: str
    seen_s: float

    @property
    def text(self) -> str:
        """State, reason and detail in words."""
        return sentence(self.state, self.reason, self.detail)


@dataclass
class _Process:
    """When a process published first and last."""

    first_s: float
    last_s: float = float("-inf")


class Health:
    """Newest status of each watched node.

    A node that is killed says nothing more, so silence is a problem of its own; a node that was restarted has another
    epoch, and what it knew of the episode is gone.
    """

    def __init__(
        self, nodes: Sequence[str], silent_after_s: float, storage: Sequence[str] = (), *, arm: str = ""
    ) -> None:
        """Watch nodes by their base names.

        Args:
            nodes: Base names, for example arm_node.
            silent_after_s: Silence that counts as death.
            storage: Further nodes, which keep what happens: no episode begins before each of them is READY.
            arm: The node that must be RUNNING while an episode runs.
        """
        self._arm, self._arm_ran = arm, False
        self._storage = frozenset(storage)
        self._reports: dict[str, Report | None] = dict.fromkeys((*nodes, *storage))
        self._silent_after_s = silent_after_s
        self._epochs: dict[str, int] = {}
        self._processes: dict[str, dict[int, _Process]] = {name: {} for name in self._reports}

    def update(self, node: str, report: Report) -> None:
        """Take a status message of a fully qualified node name."""
        name = node.rsplit("/", 1)[-1]
        if name not in self._reports:
            return
        self._reports[name] = report
        process = self._processes[name].setdefault(report.epoch_ns, _Process(report.seen_s))
        process.last_s = float("-inf") if report.state is State.FINALIZED else report.seen_s
        self._arm_ran = self._arm_ran or (name == self._arm and report.state is State.RUNNING)

    def report(self, name: str) -> Report | None:
        """Newest report of a node."""
        return self._reports.get(name)

    def watches(self, name: str) -> bool:
        """Whether episodes need this node."""
        return name in self._reports

    def begin_episode(self) -> None:
        """Remember which processes the episode starts with; the arm has yet to run."""
        self._arm_ran = False
        self._epochs = {name: report.epoch_ns for name, report in self._reports.items() if report is not None}

    def missing(self, now_s: float) -> str:
        """What keeps an episode from starting, empty when nothing does."""
        for name, report in self._reports.items():
            if unheard := self._unheard(name, report, now_s):
                return unheard
            assert report is not None  # noqa: S101 - else it is unheard
            # A stopped arm can be reset and a disarmed one armed, so that is for the caller to do.
            if report.state not in _WORKING | {State.STOPPED}:
                return f"{name} is {report.text}"
            if name == self._arm and report.reason is Reason.NO_CONTRACT:
                return f"{name} is {report.text}"  # the contract is latched, and on its way
            if name in self._storage and report.state is not State.READY:
                return f"{name} is {report.text}"
        return ""

    def problem(self, now_s: float) -> str:
        """What must end the running episode, empty when nothing does."""
        for name, report in self._reports.items():
            if unheard := self._unheard(name, report, now_s):
                return unheard
            assert report is not None  # noqa: S101 - else it is unheard
            if report.epoch_ns != self._epochs.get(name, report.epoch_ns):
                return f"{name} was restarted"
            if report.state in _BROKEN | {State.STOPPED}:
                return f"{name} is {report.text}"
        return ""

    def failed(self, now_s: float) -> str:
        """A node that says of itself that it cannot work, empty when none does; waiting longer would not help."""
        for name, report in self._reports.items():
            if report is not None and report.state is State.ERROR and now_s - report.seen_s <= self._silent_after_s:
                return f"{name} is {report.text}"
        return ""

    def _unheard(self, name: str, report: Report | None, now_s: float) -> str:
        if report is None:
            return f"{name} has not been heard of"
        if self._is_doubled(name, now_s):
            return f"two nodes say that they are {name}: stop one of them"
        return f"{name} is silent" if now_s - report.seen_s > self._silent_after_s else ""

    def _is_doubled(self, name: str, now_s: float) -> bool:
        """Whether two living processes say that they are this node; one that took the place of another is no second."""
        processes = self._processes[name]
        for epoch in [epoch for epoch, each in processes.items() if now_s - each.last_s > self._silent_after_s]:
            del processes[epoch]
        ordered = sorted(processes.values(), key=lambda each: each.first_s)
        return any(older.last_s > newer.first_s for older, newer in itertools.pairwise(ordered))

    def unready(self) -> str:
        """The first node that publishes and is not well, with its reason; empty when all are."""
        return next((f"{name} is {report.text}" for name, report in self._heard() if report.state not in _WELL), "")

    def holding(self) -> dict[str, str]:
        """State and reason in words of each node that does not do its part of the running episode."""
        return {name: report.text for name, report in self._heard() if not self._does_its_part(name, report)}

    def _heard(self) -> list[tuple[str, Report]]:
        return [(name, report) for name, report in self._reports.items() if report is not None]

    def _does_its_part(self, name: str, report: Report) -> bool:
        # The arm's status follows its start; its own count of steps may end a moment before the detector's.
        may_be_idle = name != self._arm or not self._arm_ran or report.reason is Reason.EPISODE_END
        return report.state is State.RUNNING or (report.state is State.READY and may_be_idle)
