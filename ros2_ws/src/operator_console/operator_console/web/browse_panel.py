# SPDX-License-Identifier: Apache-2.0
"""Browse: every recorded episode and dataset on this disk; look at it, relabel, delete, restore, export."""

from __future__ import annotations

from nicegui import ui

from operator_console.core.library import ListedEpisode
from operator_console.web.curation_commands import CurationCommands
from operator_console.web.episode_list import EpisodeList
from operator_console.web.episode_player import EpisodePlayer
from operator_console.web.interface import Console, PageState
from operator_console.web.replay_form import ReplayForm

_REFRESH_S = 1.0


class BrowsePanel:
    """Episodes as one page shows them.

    Args:
        console: The node.
        key: Of the page.
        viewer: Who looks at it.
        pane: That holds it; while nobody sees it, nothing is read.
    """

    def __init__(self, console: Console, key: str, viewer: str, pane: ui.element) -> None:
        self._pane = pane
        with pane, ui.row().classes("w-full items-start no-wrap"):
            with ui.column().classes("w-7/12"):
                self._episodes = EpisodeList(
                    console, refresh=self._refresh, on_folder=self._on_folder, on_row=self._on_row
                )
                self._commands = CurationCommands(console, key, viewer, self._episodes, self._refresh)
            with ui.column().classes("w-5/12"):
                self._player = EpisodePlayer(console)
                self._replay = ReplayForm(console, key, viewer)
        ui.timer(_REFRESH_S, self._refresh)

    async def _on_folder(self) -> None:
        self._player.clear()
        self._replay.show(None)
        await self._refresh()

    async def _on_row(self, row: ListedEpisode) -> None:
        title = f"{row.name}: {row.instruction}, {row.outcome}" if not row.problem else row.name
        await self._player.show(self._episodes.folder, row.name, title)
        self._replay.show((self._episodes.folder, row.name))

    async def _refresh(self) -> None:
        """Read what is on the disk, while somebody looks."""
        if self._pane.visible:
            await self._episodes.refresh()

    def refresh(self, state: PageState) -> None:
        """Show what is true now."""
        self._commands.show(controls=state.controls)
        self._replay.refresh(state)
