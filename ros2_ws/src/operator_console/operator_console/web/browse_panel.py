# SPDX-License-Identifier: Apache-2.0
"""Browse: every recorded episode and dataset on this disk; look at it, relabel, delete, restore, export."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from operator_console.core.commands import CommandRefusedError
from operator_console.core.curation import AS_RECORDED
from operator_console.core.library import Collection, CollectionKind, ListedEpisode, Listing
from operator_console.web.episode_player import EpisodePlayer
from operator_console.web.interface import Console, PageState, Recordings
from whetstone_common.core.enums import Outcome

_REFRESH_S = 1.0
_ANSWER_S = 10.0
_COLUMNS = ("name", "task", "instruction", "outcome", "steps", "length", "human", "date")
_ALIGNED_RIGHT = ("steps", "length", "human")
_PER_PAGE = 12
_NAMED = 4  # in the log of commands
_ABOUT = (
    "Recordings are never written or erased: an outcome goes into a small file beside the recording, what is deleted "
    "is moved into the folder .deleted beside it. Exports, and trainings from recordings, go by the outcome shown here."
)


class BrowsePanel:
    """Episodes as one page shows them.

    Args:
        console: The node.
        key: Of the page.
        viewer: Who looks at it.
        pane: That holds it; while nobody sees it, nothing is read.
    """

    def __init__(self, console: Console, key: str, viewer: str, pane: ui.element) -> None:
        self._console, self._key, self._viewer, self._pane = console, key, viewer, pane
        self._collections: tuple[Collection, ...] = ()
        self._rows: dict[str, ListedEpisode] = {}
        self._for_operators: list[ui.button] = []
        with pane, ui.row().classes("w-full items-start no-wrap"):
            with ui.column().classes("w-7/12"):
                self._build_list()
                self._build_commands()
            with ui.column().classes("w-5/12"):
                self._player = EpisodePlayer(console)
        ui.timer(_REFRESH_S, self._refresh)

    def _build_list(self) -> None:
        with ui.card().classes("w-full"):
            ui.label("Episodes").classes("font-bold")
            with ui.row().classes("w-full items-center no-wrap"):
                self._folder = ui.select({}, label="folder", on_change=self._on_folder).classes("grow")
                self._folder.props("for=browse-folder")
                self._deleted = ui.checkbox("show deleted ones", on_change=self._refresh).props("id=browse-deleted")
            columns = [
                {"name": name, "label": name, "field": name, "align": "right" if name in _ALIGNED_RIGHT else "left"}
                for name in _COLUMNS
            ]
            self._table = ui.table(columns=columns, rows=[], row_key="name", selection="multiple", pagination=_PER_PAGE)
            self._table.props("dense flat wrap-cells id=episodes").classes("w-full episodes")
            self._table.on("rowClick", self._on_row, [[], ["name"], None])
            self._count = ui.label().props("id=browse-count").classes("text-xs text-grey")

    def _build_commands(self) -> None:
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
                self._dataset = ui.input("name of the new dataset").props("for=browse-dataset").classes("w-64")
                self._button("export", "export as LeRobotDataset", self._export)
            self._answer = ui.label("take control to change recordings").props("id=browse-answer").classes("text-sm")
            self._process = ui.label().props("id=browse-process").classes("text-sm font-bold")
            ui.label(_ABOUT).classes("text-xs text-grey")

    def _button(self, name: str, text: str, act: Callable[[], Any]) -> None:
        button = ui.button(text, on_click=act).props(f"id=browse-{name} dense no-caps")
        self._for_operators.append(button)

    # ---- commands --------------------------------------------------------------------------------------------------

    async def _relabel(self) -> None:
        outcome = str(self._outcome.value)
        await self._act(f"say {outcome!r} of", lambda desk, folder, names: desk.relabel(folder, names, outcome))

    async def _delete(self) -> None:
        await self._act("delete", lambda desk, folder, names: desk.delete(folder, names))

    async def _restore(self) -> None:
        await self._act("restore", lambda desk, folder, names: desk.restore(folder, names))

    async def _export(self) -> None:
        dataset = self._dataset.value.strip()
        await self._act(f"export to {dataset!r}", lambda desk, folder, names: desk.export(folder, names, dataset))

    async def _act(self, named: str, do: Callable[[Recordings, str, list[str]], str]) -> None:
        """Let the node do it with what is ticked now, and show what came of it."""
        folder, names = self._folder.value or "", [row["name"] for row in self._table.selected]
        some = [*names[:_NAMED], *([f"{len(names) - _NAMED} more"] if len(names) > _NAMED else [])]
        which = f"{named} {', '.join(some)} in {folder}"
        answer = self._console.curate(self._key, self._viewer, which, lambda desk: do(desk, folder, names))
        try:
            text = await asyncio.wait_for(asyncio.wrap_future(answer), _ANSWER_S)
            self._table.selected = []
        except CommandRefusedError as error:
            text = f"refused: {error}"
        except TimeoutError:
            text = f"no answer within {_ANSWER_S:g} s"
        await self._refresh()
        self._answer.set_text(text)  # not before the list shows what came of it

    # ---- what is true now ------------------------------------------------------------------------------------------

    async def _on_folder(self) -> None:
        self._table.selected = []
        self._player.clear()
        await self._refresh()

    async def _on_row(self, event: Any) -> None:
        row = self._rows.get(event.args[1]["name"])
        if row is not None:
            title = f"{row.name}: {row.instruction}, {row.outcome}" if not row.problem else row.name
            await self._player.show(str(self._folder.value), row.name, title)

    async def _refresh(self) -> None:
        """Read what is on the disk, and show what has changed."""
        if not self._pane.visible:
            return
        library = self._console.recordings.library
        collections = await run_in_threadpool(library.collections)
        if collections != self._collections:
            self._collections = collections
            chosen = self._folder.value if self._folder.value in {each.name for each in collections} else None
            first = collections[0].name if collections else None
            self._folder.set_options({each.name: _folder_text(each) for each in collections}, value=chosen or first)
        collection = next((each for each in collections if each.name == self._folder.value), None)
        listing = await run_in_threadpool(library.listing, collection) if collection is not None else Listing()
        shown = [row for row in listing.rows if self._deleted.value or not row.is_deleted]
        self._rows = {row.name: row for row in shown}
        rows = [_row(row) for row in shown]
        if rows != self._table.rows:
            ticked = [row["name"] for row in self._table.selected]
            self._table.update_rows(rows, clear_selection=False)
            self._table.selected = [row for row in rows if row["name"] in ticked]
        self._count.set_text(self._summary(listing))

    def _summary(self, listing: Listing) -> str:
        if not self._collections:
            return f"no recording and no dataset in {', '.join(map(str, self._console.recordings.library.folders))}"
        deleted = sum(row.is_deleted for row in listing.rows)
        count = len(listing.rows) - deleted
        parts = ["1 episode" if count == 1 else f"{count} episodes", f"{deleted} deleted"]
        parts += [f"{listing.unread} not read yet"] if listing.unread else []
        return listing.problem or ", ".join(parts)

    def refresh(self, state: PageState) -> None:
        """Show what is true now."""
        for button in self._for_operators:
            button.set_enabled(state.controls)
        export = self._console.recordings.view()
        self._process.set_text(": ".join([export.text, *export.lines[-1:]]) if export.text else "")


def _folder_text(collection: Collection) -> str:
    return f"{collection.name} (dataset)" if collection.kind is CollectionKind.DATASET else collection.name


def _row(row: ListedEpisode) -> dict[str, str]:
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.written_s))
    if row.problem:
        return {
            **dict.fromkeys(_COLUMNS, ""),
            "name": row.name,
            "outcome": f"cannot be read: {row.problem}",
            "date": date,
        }
    outcome = f"{row.outcome} (recorded: {row.recorded_outcome})" if row.recorded_outcome else row.outcome
    return {
        "name": row.name,
        "task": row.task,
        "instruction": row.instruction,
        "outcome": f"{outcome}, deleted" if row.is_deleted else outcome,
        "steps": str(row.steps),
        "length": f"{row.duration_s:.1f} s",
        "human": f"{100 * row.human_share:.0f} %",
        "date": date,
    }
