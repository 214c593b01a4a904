# SPDX-License-Identifier: Apache-2.0
"""Runs of `whetstone train` that pages start, stop and resume: one at a time, a process of the console's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from operator_console.core.commands import CommandRefusedError
from operator_console.core.run_order import RunOrder, RunRefusedError, resume_arguments
from operator_console.core.run_process import RunProcess
from operator_console.core.runs import RunCatalog, RunState
from operator_console.core.session import GraphSnapshot
from operator_console.nodes.command_line import COMMAND, cli_problem
from operator_console.nodes.offers import OfferReader
from operator_console.web.interface import ProcessView

_REAL_ARM = (
    "a real arm runs here, and a run from this page brings a simulator of its own. To learn on the arm, start its "
    "stack with: whetstone up sim:=false train:=true run:=NAME method:=expo n_candidates:=8; "
    "then run episodes from this page"
)


class TrainingDesk:
    """What pages may do about runs; all but `view` is for the node's own thread.

    Args:
        folder: Holds one folder per run.
        note: Is told what became of a run.
        snapshot: What the console knows of the graph.

    Attributes:
        catalog: Runs on this disk.
        offers: Reads what a run can be started with.
    """

    def __init__(self, folder: Path, note: Callable[[str, str], object], snapshot: Callable[[], GraphSnapshot]) -> None:
        self.catalog, self.offers = RunCatalog(folder), OfferReader()
        self._note, self._snapshot = note, snapshot
        self._process: RunProcess | None = None
        self._is_told = True

    def start(self, order: RunOrder) -> str:
        """Start a new run.

        Raises:
            CommandRefusedError: It cannot be started, or another one runs.
        """
        self._check()
        try:
            order.check()
        except RunRefusedError as error:
            raise CommandRefusedError(str(error)) from error
        if self.catalog.run(order.name) is not None:
            raise CommandRefusedError(f"there is a run {order.name!r}: choose another name, or resume that one")
        return self._begin(order.name, order.arguments(self.catalog.folder))

    def resume(self, name: str) -> str:
        """Go on with a run that was stopped.

        Raises:
            CommandRefusedError: It cannot go on, or another one runs.
        """
        self._check()
        run = self.catalog.run(name)
        if run is None:
            raise CommandRefusedError(f"there is no run {name!r} in {self.catalog.folder}")
        if run.state is RunState.FINISHED:
            raise CommandRefusedError(f"the run {name!r} has used up its budget")
        try:
            return self._begin(name, resume_arguments(run, self.catalog.folder))
        except RunRefusedError as error:
            raise CommandRefusedError(str(error)) from error

    def stop(self) -> str:
        """Interrupt the run as Ctrl-C does.

        Raises:
            CommandRefusedError: This console runs none.
        """
        if self._process is None or not self._process.is_running:
            others = [run.name for run in self.catalog.runs() if run.state is RunState.RUNNING]
            known = f"; {others[0]!r} was started elsewhere: stop it there" if others else ""
            raise CommandRefusedError(f"this console runs no training{known}")
        self._process.interrupt()
        return f"{self._process.name} is asked to end; it stores what it has, and can be resumed"

    def _check(self) -> None:
        """Refuse a run that could not be, or a second one."""
        if problem := cli_problem():
            raise CommandRefusedError(problem)
        snapshot = self._snapshot()
        if snapshot.node("arm_node") is not None and snapshot.node("sim_node") is None:
            raise CommandRefusedError(_REAL_ARM)
        names = [run.name for run in self.catalog.runs() if run.state is RunState.RUNNING]
        if self._process is not None and self._process.is_running:
            names.insert(0, self._process.name)
        if names:
            raise CommandRefusedError(f"the run {names[0]!r} is being trained: one at a time; stop it first")

    def _begin(self, name: str, arguments: list[str]) -> str:
        try:
            self._process = RunProcess(name, [*COMMAND, *arguments])
        except OSError as error:
            raise CommandRefusedError(f"the run could not be started: {error}") from error
        self._is_told = False
        return f"started: whetstone {' '.join(arguments)}"

    def update(self) -> None:
        """Tell the log when the run has ended."""
        if self._process is None or self._is_told or self._process.is_running:
            return
        self._is_told = True
        last = self._process.last_lines()[-1:]
        self._note(f"run {self._process.name!r}", ": ".join([self._process.state, *last]))

    def view(self) -> ProcessView:
        """What pages show of the run; may be called from any thread."""
        process = self._process
        if process is None:
            return ProcessView(text="no run was started from this console")
        return ProcessView(process.name, f"{process.name} {process.state}", process.last_lines(), process.is_running)

    def close(self) -> None:
        """The console ends: its run is interrupted, and ends by itself after that."""
        if self._process is None or not self._process.is_running:
            return
        self._process.interrupt()
        self._note(
            f"run {self._process.name!r}",
            "the console ends, and the run with it: it stores what it has, and can be resumed from the page",
        )
