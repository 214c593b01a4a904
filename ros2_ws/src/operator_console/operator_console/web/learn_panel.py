# SPDX-License-Identifier: Apache-2.0
"""Learn: the runs on this disk, their curves over one another, and a run that is started from here."""

from __future__ import annotations

from typing import Any

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from operator_console.core.run_advice import next_steps
from operator_console.core.runs import RunState, RunView
from operator_console.web import tables
from operator_console.web.interface import Console, PageState
from operator_console.web.run_chart import options_of
from operator_console.web.run_form import RunForm

_REFRESH_S = 1.0
_COLUMNS = ("name", "task", "method", "state", "steps", "minutes", "success", "human")
_ALIGNED_RIGHT = ("steps", "minutes", "success", "human")


class LearnPanel:
    """Runs as one page shows them.

    Args:
        console: The node.
        key: Of the page.
        viewer: Who looks at it.
        pane: That holds it; while nobody sees it, nothing is read.
    """

    def __init__(self, console: Console, key: str, viewer: str, pane: ui.element) -> None:
        self._console, self._pane = console, pane
        self._runs: tuple[RunView, ...] = ()
        self._wanted = ""  # name of a run that was started from here, until the list has it
        self._drawn: dict[str, Any] = {}
        with pane, ui.row().classes("w-full items-start no-wrap"):
            with ui.column().classes("w-1/2"):
                self._build_runs()
                self._form = RunForm(console, key, viewer, self._chosen, self._on_started)
            with ui.column().classes("w-1/2"):
                self._build_curve()
        ui.timer(_REFRESH_S, self._refresh)
        ui.timer(_REFRESH_S, self._load)

    def _build_runs(self) -> None:
        with ui.card().classes("w-full"):
            ui.label("Runs").classes("font-bold")
            columns = [
                {"name": name, "label": name, "field": name, "align": "right" if name in _ALIGNED_RIGHT else "left"}
                for name in _COLUMNS
            ]
            self._table = ui.table(columns=columns, rows=[], row_key="name", selection="multiple", pagination=10)
            self._table.props("dense flat id=runs").classes("w-full").on_select(self._show_chosen)
            self._folder = ui.label().classes("text-xs text-grey")

    def _build_curve(self) -> None:
        with ui.card().classes("w-full"):
            ui.label("Curve").classes("font-bold")
            self._chart = ui.echart(options_of([])).classes("run-curve w-full").style("height: 26rem")
        with ui.card().classes("w-full"):
            ui.label("Where it comes from, and what to do next").classes("font-bold")
            self._details = ui.html("", sanitize=False).props("id=run-details").classes("w-full")

    def _chosen(self) -> list[RunView]:
        """Runs that are ticked, in the order of the list."""
        names = {row["name"] for row in self._table.selected}
        return [run for run in self._runs if run.name in names]

    def _on_started(self, name: str) -> None:
        self._wanted = name

    async def _refresh(self) -> None:
        """Read what is on the disk, and show what has changed."""
        if not self._pane.visible:
            return
        self._runs = await run_in_threadpool(self._console.catalog.runs)
        rows = [_row(run) for run in self._runs]
        if rows != self._table.rows:
            self._table.update_rows(rows, clear_selection=False)
        names = [run.name for run in self._runs]
        # Somebody who opens the page, or starts a run, wants to see a curve.
        if self._wanted in names or (names and not self._table.selected and not self._drawn):
            name = self._wanted or names[0]
            self._table.selected = [row for row in rows if row["name"] == name]
            self._wanted = ""
        count = "1 run" if len(rows) == 1 else f"{len(rows)} runs"
        self._folder.set_text(f"{count} in {self._console.catalog.folder}; tick several to compare them")
        self._form.show_runs()
        self._show_chosen()

    async def _load(self) -> None:
        if self._pane.visible:
            await self._form.load()

    def _show_chosen(self) -> None:
        chosen = self._chosen()
        options = options_of(chosen)
        if options == self._drawn:
            return
        self._drawn = options
        self._chart.options.clear()
        self._chart.options.update(options)
        self._chart.update()

    def refresh(self, state: PageState) -> None:
        """Show what is true now."""
        self._form.refresh(state)
        self._details.set_content("".join(_details(run) for run in self._chosen()) or "no run is chosen")


def _row(run: RunView) -> dict[str, str]:
    newest = run.curve.newest
    state = run.state.value if not run.problem or run.state is RunState.RUNNING else f"{run.state.value} (!)"
    return {
        "name": run.name,
        "task": run.task,
        "method": run.method,
        "state": state,
        "steps": str(run.summary.steps),
        "minutes": f"{run.summary.robot_min:.1f}",
        "success": str(newest) if newest is not None else "–",
        "human": f"{100 * run.summary.human_share:.0f} %",
    }


def _details(run: RunView) -> str:
    """Lineage and advice of a run as HTML."""
    rows = [*run.lineage, *([("problem", run.problem)] if run.problem else [])]
    advice = "".join(f"<li>{tables.escape(step)}</li>" for step in next_steps(run))
    name = tables.escape(run.name)
    return f"<div data-run='{name}'><b>{name}</b>{tables.figures_table(rows)}<ul class='advice'>{advice}</ul></div>"
