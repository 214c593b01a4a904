# SPDX-License-Identifier: Apache-2.0
"""Screen of a training run."""

from __future__ import annotations

import math
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from whetstone_cli.cli import screen
from whetstone_cli.cli.training_watch import LearnerReport
from whetstone_cli.core.training import Budget
from whetstone_common.core.run_session import UNBOUNDED_MIN
from whetstone_common.core.training_log import LAST, TrainingSummary

_REFRESH_HZ = 4.0
_BAR_WIDTH = 40
# The learner reports every second.
_OLD_S = 5.0


class TrainingScreen:
    """A bar over the budget, and the figures of the run."""

    def __init__(self, title: str, budget: Budget) -> None:
        """Nothing is shown before it is entered."""
        self._title, self._budget = title, budget
        self._note = self._printed = ""
        self._shown_s = 0.0
        self._table = Table.grid()
        self._live = Live(console=screen.console, refresh_per_second=_REFRESH_HZ, get_renderable=self._render)

    def __enter__(self) -> TrainingScreen:
        """Begin to show."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last picture."""
        self._note = ""
        self._live.stop()

    def _render(self) -> Group:
        return Group(Text(self._title, style="bold"), self._table, Text(self._note, style="dim"))

    def note(self, text: str) -> None:
        """Say what happens now."""
        self._note = text
        self._print(text.partition(" · ")[0])

    def show(self, so_far: TrainingSummary, learner: LearnerReport | None = None) -> None:
        """Take over new figures."""
        self._table = figures(so_far, learner or LearnerReport(), self._budget)
        if so_far.robot_s != self._shown_s:
            self._shown_s = so_far.robot_s
            self._print(progress_line(so_far, self._budget))

    def _print(self, line: str) -> None:
        """A line for whoever sees no picture that changes: a file, or a program that started this one."""
        if line != self._printed and not screen.console.is_terminal:
            self._printed = line
            screen.console.print(line, highlight=False, soft_wrap=True)


def progress_line(so_far: TrainingSummary, budget: Budget) -> str:
    """How far a run has come, in one line."""
    steps = f"{so_far.steps} of {budget.max_steps}" if budget.max_steps else str(so_far.steps)
    return (
        f"{_minutes(so_far, budget)} of robot time, {steps} steps, {so_far.episodes} episodes, "
        f"success of the last {LAST}: {_percent(so_far.success)}"
    )


def figures(so_far: TrainingSummary, learner: LearnerReport, budget: Budget) -> Table:
    """Figures of a run as two columns."""
    table = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=1.0, completed=budget.spent(so_far), width=_BAR_WIDTH)
    steps = f"{so_far.steps}/{budget.max_steps}" if budget.max_steps else str(so_far.steps)
    table.add_row("robot time", bar, f"{_minutes(so_far, budget)} · {steps} steps")
    table.add_row("episodes", f"{so_far.episodes}", f"success of the last {LAST}: {_percent(so_far.success)}")
    table.add_row("a person", _percent(so_far.human_share), f"success without them: {_percent(so_far.alone)}")
    table.add_row("edited", _percent(so_far.edited), f"mean value {_number(learner.q_mean, 2)}")
    rate = f"{_number(learner.updates_per_s, 0)} per s"
    table.add_row("updates", f"{learner.updates} ({rate})", learner.waiting)
    if learner.age_s > _OLD_S:
        table.add_row("learner", Text(f"no word for {learner.age_s:.0f} s: its figures are old", style="bold red"), "")
    if learner.guard:
        table.add_row("guard", Text(learner.guard, style="bold red"), "")
    if so_far.lost:
        table.add_row("not stored", Text(f"{so_far.lost} episodes", style="bold red"), "")
    return table


def _minutes(so_far: TrainingSummary, budget: Budget) -> str:
    bound = f" of {budget.minutes:g}" if budget.minutes < UNBOUNDED_MIN else ""
    return f"{so_far.robot_min:.1f}{bound} min"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
