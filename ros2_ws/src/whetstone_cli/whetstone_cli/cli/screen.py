# SPDX-License-Identifier: Apache-2.0
"""Tables and progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from vla_interfaces.action import RunEpisodes

from whetstone_cli.core.report import Evaluation
from whetstone_common.core.enums import EpisodePhase

# Names of files and figures with units in square brackets are no markup.
console = Console(markup=False)


class EpisodeBar:
    """Progress bar over episodes, fed with an action's feedback.

    Attributes:
        trouble: Says which node holds or has failed, and why; empty while none does.
    """

    def __init__(self, progress: Progress, label: str, total: int) -> None:
        """Add a bar of `total` episodes."""
        self.trouble: Callable[[], str] = str
        self._progress = progress
        self._task = progress.add_task(label, total=total, note="")

    def note(self, text: str) -> None:
        """Say what is waited for."""
        self._progress.update(self._task, note=text)

    def feedback(self, feedback: RunEpisodes.Feedback) -> None:
        """Show an action's feedback."""
        phase = EpisodePhase(feedback.phase)
        done = feedback.episode if phase is EpisodePhase.JUDGING else feedback.episode - 1
        note = f"{feedback.successes} succeeded · {phase.text} · step {feedback.step}"
        words = " · ".join(filter(None, (note, escape(self.trouble()))))
        self._progress.update(self._task, completed=done, note=words)

    def finish(self, evaluation: Evaluation) -> None:
        """Show the end."""
        self._progress.update(self._task, completed=len(evaluation.judged), note=str(evaluation.rate))

    def finish_with(self, kept: int) -> None:
        """Show how many episodes were kept."""
        self._progress.update(self._task, completed=kept, note=f"{kept} kept")


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress bars of one command."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console) as bars:
        yield bars


def results_table(evaluations: Sequence[Evaluation], controls: Sequence[Evaluation] = ()) -> Table:
    """One line per task, with the control run beside it where there is one."""
    table = Table(title="Success when told the truth, and when told something else" if controls else None)
    table.add_column("task", no_wrap=True)
    for name in ("success", "rate", "95 % interval", "time", "× real time"):
        table.add_column(name, justify="right")
    by_task = {control.task: control for control in controls}
    if controls:
        table.add_column("other words", justify="right")
    for evaluation in evaluations:
        rate, time_s = evaluation.rate, evaluation.mean_time_to_success_s
        cells = [
            evaluation.task,
            f"{rate.successes}/{rate.episodes}",
            f"{100 * rate.rate:.0f} %",
            f"{100 * rate.low:.0f} to {100 * rate.high:.0f} %",
            "-" if time_s is None else f"{time_s:.1f} s",
            f"{evaluation.times_real_time:.1f}",
        ]
        if controls:
            control = by_task.get(evaluation.task)
            cells.append("-" if control is None else f"{control.rate.successes}/{control.rate.episodes}")
        table.add_row(*cells)
    return table
