# SPDX-License-Identifier: Apache-2.0
"""Start, stop and resume a run from the page, and the last lines of what it says."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from operator_console.core.runs import RunState, RunView
from operator_console.web.answer_line import AnswerLine
from operator_console.web.command_answer import answer_of
from operator_console.web.interface import Console, PageState
from operator_console.web.order_fields import OrderFields
from operator_console.web.run_output import RunOutput

_ABOUT = (
    "A run has a simulator, a policy and a learner of its own: it does not move the arm of this page. One at a time. "
    "It ends with the console, stores what it has, and can be resumed."
)


class RunForm:
    """What a person orders a run with.

    Args:
        console: The node.
        key: Of the page.
        viewer: Who looks at it.
        chosen: Returns the runs that are ticked.
        on_started: Is told the name of a run that was started.
    """

    def __init__(
        self,
        console: Console,
        key: str,
        viewer: str,
        chosen: Callable[[], list[RunView]],
        on_started: Callable[[str], None],
    ) -> None:
        self._console, self._key, self._viewer = console, key, viewer
        self._chosen, self._on_started = chosen, on_started
        self._controls = False
        with ui.card().classes("w-full"):
            ui.label("Start a run").classes("font-bold")
            self._fields = OrderFields()
            with ui.row():
                self._start = self._button("start", "start the run", self._on_start)
                self._stop = self._button("stop", "stop the run", self._on_stop)
                self._resume = self._button("resume", "resume the ticked run", self._on_resume)
            self._answer = AnswerLine("run-answer", "take control to start a run")
            ui.label(_ABOUT).classes("text-xs text-grey")
            self._output = RunOutput()

    def _button(self, name: str, text: str, act: Callable[[], object]) -> ui.button:
        return ui.button(text, on_click=act).props(f"id=run-{name} dense no-caps")

    async def load(self) -> None:
        """Ask for tasks and methods when somebody looks for the first time."""
        if not self._fields.has_offers:
            self._fields.show_offers(await run_in_threadpool(self._console.offers))

    # ---- commands --------------------------------------------------------------------------------------------------

    async def _on_start(self) -> None:
        order = self._fields.order()
        if await self._tell(self._console.start_run(self._key, self._viewer, order)):
            self._on_started(order.name)

    async def _on_stop(self) -> None:
        await self._tell(self._console.stop_run(self._key, self._viewer))

    async def _on_resume(self) -> None:
        name = self._chosen()[0].name
        if await self._tell(self._console.resume_run(self._key, self._viewer, name)):
            self._on_started(name)

    async def _tell(self, answer: Future[str]) -> bool:
        """Show what came of a command; whether it was carried out."""
        came_of_it = await answer_of(answer)
        self._answer.show(came_of_it.text)
        return came_of_it.is_done

    # ---- what is true now ------------------------------------------------------------------------------------------

    def show_runs(self) -> None:
        """The list of runs, or what is ticked in it, has changed."""
        chosen = self._chosen()
        can_go_on = len(chosen) == 1 and chosen[0].state is RunState.STOPPED
        self._resume.set_enabled(self._controls and can_go_on)

    def refresh(self, state: PageState) -> None:
        """Show what is true now."""
        self._controls = state.controls
        self._answer.refresh(controls=state.controls)
        training = self._console.training()
        self._start.set_enabled(state.controls and self._fields.has_offers)
        self._stop.set_enabled(state.controls and training.is_running)
        self._output.show(training)
