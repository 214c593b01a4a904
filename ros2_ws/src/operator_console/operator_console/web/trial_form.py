# SPDX-License-Identifier: Apache-2.0
"""What would the policy do here? Noise, candidates and edits to turn while no episode runs; nothing moves."""

from __future__ import annotations

import asyncio
import time

from nicegui import ui

from operator_console.web.answer_line import AnswerLine
from operator_console.web.command_answer import answer_of
from operator_console.web.interface import Console, PageState, PolicyTrial

_MOST_SEED, _MOST_CANDIDATES, _SHARE_STEPS = 99, 16, 20
# Cameras are subscribed to when somebody looks; without their pictures the answer has numbers only.
_PICTURES_S, _POLL_S = 3.0, 0.1
_ABOUT = (
    "Hold the arm, or end the episode; then turn these. Each change asks the policy about what the cameras see now. "
    "Nothing moves, and the settings of the nodes stay as they are."
)


class TrialForm:
    """Asks the policy for one page.

    Args:
        console: The node.
        key: Of the page.
        viewer: Who looks at it.
    """

    def __init__(self, console: Console, key: str, viewer: str) -> None:
        self._console, self._key, self._viewer = console, key, viewer
        with ui.card().classes("w-full"):
            ui.label("What would it do here?").classes("font-bold")
            self._seed = self._slider("noise: seed", "trial-seed", 1, _MOST_SEED, 1, 1)
            self._count = self._slider("candidates", "trial-candidates", 1, _MOST_CANDIDATES, 1, 8)
            self._share = self._slider("edits: share of their bound", "trial-edits", 0.0, 1.0, 1 / _SHARE_STEPS, 1.0)
            self._button = ui.button("ask the policy", on_click=self._ask).props("id=trial-ask dense no-caps")
            self._answer = AnswerLine("trial-answer", "take control to ask")
            ui.label(_ABOUT).classes("text-xs text-grey")

    def _slider(self, text: str, name: str, least: float, most: float, step: float, value: float) -> ui.slider:
        with ui.row().classes("w-full items-center no-wrap"):
            ui.label(text).classes("text-sm w-1/2")
            slider = ui.slider(min=least, max=most, step=step, value=value).props(f"label-always id={name}")
            # When it is let go, not on its way.
            slider.on("change", self._ask)
        return slider

    async def _ask(self) -> None:
        end_s = time.monotonic() + _PICTURES_S
        while not self._console.decisions.is_prepared and time.monotonic() < end_s:
            await asyncio.sleep(_POLL_S)
        trial = PolicyTrial(int(self._seed.value), int(self._count.value), float(self._share.value))
        answer = await answer_of(self._console.ask_policy(self._key, self._viewer, trial))
        self._answer.show("asked; the pictures show the answer" if answer.is_done else answer.text)

    def refresh(self, state: PageState) -> None:
        """Let who is in control ask."""
        self._answer.refresh(controls=state.controls)
        for element in (self._seed, self._count, self._share, self._button):
            element.set_enabled(state.controls)
