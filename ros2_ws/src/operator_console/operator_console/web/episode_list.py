# SPDX-License-Identifier: Apache-2.0
"""The episodes of one folder, as a page lists and ticks them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from operator_console.core.library import Collection, CollectionKind, ListedEpisode, Listing
from operator_console.web.interface import Console

_COLUMNS = ("name", "task", "instruction", "outcome", "steps", "length", "human", "date")
_ALIGNED_RIGHT = ("steps", "length", "human")
_PER_PAGE = 12


class EpisodeList:
    """A folder to choose, and the table of what is in it.

    Args:
        console: Gives the library.
        refresh: Reads anew, when somebody wants to see other rows.
        on_folder: Another folder was chosen; nothing is ticked any more.
        on_row: Somebody wants to look at an episode.
    """

    def __init__(
        self,
        console: Console,
        *,
        refresh: Callable[[], Awaitable[None]],
        on_folder: Callable[[], Awaitable[None]],
        on_row: Callable[[ListedEpisode], Awaitable[None]],
    ) -> None:
        self._console, self._on_folder, self._on_row = console, on_folder, on_row
        self._collections: tuple[Collection, ...] = ()
        self._rows: dict[str, ListedEpisode] = {}
        with ui.card().classes("w-full"):
            ui.label("Episodes").classes("font-bold")
            with ui.row().classes("w-full items-center no-wrap"):
                self._folder = ui.select({}, label="folder", on_change=self._choose_folder).classes("grow")
                self._folder.props("for=browse-folder")
                self._deleted = ui.checkbox("show deleted ones", on_change=refresh).props("id=browse-deleted")
            columns = [
                {"name": name, "label": name, "field": name, "align": "right" if name in _ALIGNED_RIGHT else "left"}
                for name in _COLUMNS
            ]
            self._table = ui.table(columns=columns, rows=[], row_key="name", selection="multiple", pagination=_PER_PAGE)
            self._table.props("dense flat wrap-cells id=episodes").classes("w-full episodes")
            self._table.on("rowClick", self._choose_row, [[], ["name"], None])
            self._count = ui.label().props("id=browse-count").classes("text-xs text-grey")

    @property
    def folder(self) -> str:
        """Name of the folder that is shown, empty for none."""
        return str(self._folder.value or "")

    @property
    def ticked(self) -> list[str]:
        """Names of the episodes that are ticked."""
        return [row["name"] for row in self._table.selected]

    def untick(self) -> None:
        """Tick nothing any more."""
        self._table.selected = []

    async def _choose_folder(self) -> None:
        self.untick()
        await self._on_folder()

    async def _choose_row(self, event: Any) -> None:
        row = self._rows.get(event.args[1]["name"])
        if row is not None:
            await self._on_row(row)

    async def refresh(self) -> None:
        """Read what is on the disk, and show what has changed."""
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
        self._show_rows([_row(row) for row in shown])
        self._count.set_text(self._summary(listing))

    def _show_rows(self, rows: list[dict[str, str]]) -> None:
        if rows != self._table.rows:
            ticked = self.ticked
            self._table.update_rows(rows, clear_selection=False)
            self._table.selected = [row for row in rows if row["name"] in ticked]

    def _summary(self, listing: Listing) -> str:
        if not self._collections:
            return f"no recording and no dataset in {', '.join(map(str, self._console.recordings.library.folders))}"
        deleted = sum(row.is_deleted for row in listing.rows)
        count = len(listing.rows) - deleted
        parts = ["1 episode" if count == 1 else f"{count} episodes", f"{deleted} deleted"]
        parts += [f"{listing.unread} not read yet"] if listing.unread else []
        return listing.problem or ", ".join(parts)


def _folder_text(collection: Collection) -> str:
    return f"{collection.name} (dataset)" if collection.kind is CollectionKind.DATASET else collection.name


def _steps(row: ListedEpisode) -> str:
    first, last = row.label.first_step, row.label.last_step
    if (first, last) == (0, None):
        return str(row.steps)
    return f"{first + 1} to {row.steps if last is None else last + 1} of {row.steps}"


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
        "steps": _steps(row),
        "length": f"{row.duration_s:.1f} s",
        "human": f"{100 * row.human_share:.0f} %",
        "date": date,
    }
