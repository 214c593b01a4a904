# SPDX-License-Identifier: Apache-2.0
"""The run that this console has started: what it does, and the last lines that it has written."""

from __future__ import annotations

from nicegui import ui

from operator_console.web import tables
from operator_console.web.interface import ProcessView


class RunOutput:
    """Shows the process of a run."""

    def __init__(self) -> None:
        """Build it where the caller is."""
        self._state = ui.label().props("id=run-process").classes("text-sm font-bold")
        self._lines = ui.html("", sanitize=False).props("id=run-lines").classes("w-full")

    def show(self, process: ProcessView) -> None:
        """Show what is true now."""
        self._state.set_text(process.text)
        lines = "<br>".join(tables.escape(line) for line in process.lines)
        self._lines.set_content(f"<div class='log'>{lines}</div>")
