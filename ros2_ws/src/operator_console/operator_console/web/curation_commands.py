# SPDX-License-Identifier: Apache-2.0
"""What an operator does with the episodes that are ticked: relabel, trim, delete, restore, export."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from operator_console.core.curation import AS_RECORDED
from operator_console.web.answer_line import AnswerLine
from operator_console.web.command_answer import answer_of
from operator_console.web.episode_list import EpisodeList
from operator_console.web.interface import Console, Recordings
from whetstone_common.core.enums import Outcome

_NAMED = 4  # in the log of commands
_ABOUT = (
    "Recordings are never written or erased: outcome and steps go into a small file beside the recording, what is "
    "deleted is moved into the folder .deleted beside it. Exports, and trainings from recordings, go by what is shown."
)


class CurationCommands:
    """Buttons, and the answer to the newest of them.

    Args:
        console: The node.
        key: Of the page.
        viewer: Who looks at it.
        episodes: Those that are ticked.
        refresh: Reads the list anew.
    """

    def __init__(
        self, console: Console, key: str, viewer: str, episodes: EpisodeList, refresh: Callable[[], Awaitable[None]]
    ) -> None:
        self._console, self._key, self._viewer = console, key, viewer
        self._episodes, self._refresh = episodes, refresh
        self._for_operators: list[ui.button] = []
        with ui.card().classes("w-full"):
            ui.label("With the ticked ones").classes("font-bold")
            with ui.row().classes("items-center"):
                outcomes = [outcome.text for outcome in Outcome]
                self._outcome = ui.select([*outcomes, AS_RECORDED], value=outcomes[0], label="outcome").classes("w-40")
                self._outcome.props("for=browse-outcome")
                self._button("relabel", "say that it ended so", self._relabel)
                self._button("delete", "delete", self._delete)
                self._button("restore", "restore", self._restore)
            with ui.row().classes("items-center"):
                self._first = (
                    ui.number("from step", value=1, min=1, precision=0).props("for=browse-first").classes("w-24")
                )
                self._last = ui.number("to step", min=1, precision=0).props("for=browse-last").classes("w-24")
                self._button("trim", "let these steps count (empty: to the end)", self._trim)
            with ui.row().classes("items-center"):
                self._dataset = ui.input("name of the new dataset").props("for=browse-dataset").classes("w-64")
                self._button("export", "export as LeRobotDataset", self._export)
            self._answer = AnswerLine("browse-answer", "take control to change recordings")
            self._process = ui.label().props("id=browse-process").classes("text-sm font-bold")
            ui.label(_ABOUT).classes("text-xs text-grey")

    def _button(self, name: str, text: str, act: Callable[[], Any]) -> None:
        button = ui.button(text, on_click=act).props(f"id=browse-{name} dense no-caps")
        self._for_operators.append(button)

    async def _relabel(self) -> None:
        outcome = str(self._outcome.value)
        await self._act(f"say {outcome!r} of", lambda desk, folder, names: desk.relabel(folder, names, outcome))

    async def _trim(self) -> None:
        first, last = int(self._first.value or 1), None if self._last.value is None else int(self._last.value)
        named = f"let steps {first} to {'the last' if last is None else last} count of"
        end = None if last is None else last - 1
        await self._act(named, lambda desk, folder, names: desk.trim(folder, names, first - 1, end))

    async def _delete(self) -> None:
        await self._act("delete", lambda desk, folder, names: desk.delete(folder, names))

    async def _restore(self) -> None:
        await self._act("restore", lambda desk, folder, names: desk.restore(folder, names))

    async def _export(self) -> None:
        dataset = self._dataset.value.strip()
        await self._act(f"export to {dataset!r}", lambda desk, folder, names: desk.export(folder, names, dataset))

    async def _act(self, named: str, do: Callable[[Recordings, str, list[str]], str]) -> None:
        """Let the node do it with what is ticked now, and show what came of it."""
        folder, names = self._episodes.folder, self._episodes.ticked
        some = [*names[:_NAMED], *([f"{len(names) - _NAMED} more"] if len(names) > _NAMED else [])]
        which = f"{named} {', '.join(some)} in {folder}"
        future = self._console.curate(self._key, self._viewer, which, lambda desk: do(desk, folder, names))
        answer = await answer_of(future)
        if answer.is_done:
            self._episodes.untick()
        await self._refresh()
        self._answer.show(answer.text)  # not before the list shows what came of it

    def show(self, *, controls: bool) -> None:
        """Show what is true now.

        Args:
            controls: Whether the page is in control.
        """
        self._answer.refresh(controls=controls)
        for button in self._for_operators:
            button.set_enabled(controls)
        export = self._console.recordings.view()
        self._process.set_text(": ".join([export.text, *export.lines[-1:]]) if export.text else "")
