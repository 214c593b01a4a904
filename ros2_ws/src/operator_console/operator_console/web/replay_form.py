# SPDX-License-Identifier: Apache-2.0
"""Replay of a recorded motion on the arm, for the page in control."""

from __future__ import annotations

from nicegui import ui

from operator_console.web.answer_line import AnswerLine
from operator_console.web.command_answer import answer_of
from operator_console.web.interface import Console, PageState

_SPEEDS = {0.25: "a quarter of the recorded speed", 0.5: "half the recorded speed", 1.0: "the recorded speed"}
_ABOUT = (
    "Starts an episode that follows what was commanded then: to the start of the motion first, then along it, within "
    "the arm's limits for a takeover. In the simulator the scene is that of the recording; before a real arm, set it "
    "up. A driving key gives the arm to you; stop holds it and aborts the episode; the space bar is the emergency stop."
)


class ReplayForm:
    """Replays the episode that is shown.

    Args:
        console: The node.
        key: Of the page.
        viewer: Who looks at it.
    """

    def __init__(self, console: Console, key: str, viewer: str) -> None:
        self._console, self._key, self._viewer = console, key, viewer
        self._place: tuple[str, str] | None = None
        with ui.card().classes("w-full"):
            ui.label("Replay on the arm").classes("font-bold")
            with ui.row().classes("items-center"):
                self._speed = ui.select(_SPEEDS, value=0.5).props("for=replay-speed").classes("w-64")
                self._start = ui.button("replay", on_click=self._on_start).props("id=replay-start dense no-caps")
                self._stop = ui.button("stop", on_click=self._on_stop).props("id=replay-stop dense no-caps")
            self._answer = AnswerLine("replay-answer", "take control to replay")
            self._status = ui.label().props("id=replay-status").classes("text-sm font-bold")
            ui.label(_ABOUT).classes("text-xs text-grey")

    def show(self, place: tuple[str, str] | None) -> None:
        """Collection and name of the episode that is looked at, None for none."""
        self._place = place

    def refresh(self, state: PageState) -> None:
        """Let who is in control replay what is looked at."""
        self._answer.refresh(controls=state.controls)
        self._start.set_enabled(state.controls and self._place is not None)
        self._stop.set_enabled(state.controls)
        self._status.set_text(self._console.replays.status)

    async def _on_start(self) -> None:
        if self._place is None:
            return
        speed = float(self._speed.value)
        answer = await answer_of(self._console.replays.start(self._key, self._viewer, *self._place, speed))
        self._answer.show(answer.text)

    async def _on_stop(self) -> None:
        self._answer.show((await answer_of(self._console.replays.stop(self._key, self._viewer))).text)
