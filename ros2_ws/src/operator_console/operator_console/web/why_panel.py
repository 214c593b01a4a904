# SPDX-License-Identifier: Apache-2.0
"""Why: what the policy could have done at the last decision, what the critic thought of it, and what was sent."""

from __future__ import annotations

from typing import Any

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from operator_console.core.candidates import DecisionView
from operator_console.web import tables
from operator_console.web.interface import Console, DecisionShot, PageState
from operator_console.web.trial_form import TrialForm
from operator_console.web.why_drawing import camera_html, candidates_table
from operator_console.web.why_scene import scene_options

_REFRESH_S = 0.5
_DIGITS = 4
_NONE_YET = "no decision yet: start an episode in the tab Operate"
_ABOUT = (
    "Each line is the way that the TCP would go with one candidate chunk, from the lowest score (violet) to the "
    "highest (yellow); blue without a critic. Orange is the chunk that was sent to the arm, a dot for every step."
)
_ABOUT_SCENE = (
    "The same in the base frame; drag to turn it, scroll to come closer. The black dot is the TCP at the observation."
)


class WhyPanel:
    """The newest decision as one page shows it.

    Args:
        console: The node.
        key: Of the page.
        viewer: Who looks at it.
        pane: That holds it; while nobody sees it, nothing is asked.
    """

    def __init__(self, console: Console, key: str, viewer: str, pane: ui.element) -> None:
        self._console, self._pane = console, pane
        self._number = 0
        self._scene: ui.echart | None = None
        self._values: tuple[tuple[float, float], ...] = ()
        with pane, ui.row().classes("w-full items-start no-wrap"):
            with ui.column().classes("w-7/12"), ui.card().classes("w-full"):
                with ui.row().classes("w-full items-center justify-between"):
                    ui.label("At the last decision").classes("font-bold")
                    self._is_held = ui.checkbox("stay at this one").props("id=why-hold")
                self._pictures = ui.html(_NONE_YET, sanitize=False).props("id=why-pictures").classes("w-full")
                ui.label(_ABOUT).classes("text-xs text-grey")
                self._space = ui.element().classes("w-full")
                ui.label(_ABOUT_SCENE).classes("text-xs text-grey")
            with ui.column().classes("w-5/12"):
                with ui.card().classes("w-full"):
                    ui.label("Candidates").classes("font-bold")
                    self._facts = ui.html("", sanitize=False).classes("w-full")
                    self._table = ui.html("", sanitize=False).props("id=why-candidates").classes("w-full")
                self._trial = TrialForm(console, key, viewer)
                with ui.card().classes("w-full"):
                    ui.label("Value of what was chosen, in this episode").classes("font-bold")
                    self._chart = ui.echart(value_options(())).classes("why-values w-full").style("height: 12rem")
        ui.timer(_REFRESH_S, self._refresh)

    def refresh(self, state: PageState) -> None:
        """Let who is in control ask what the policy would do."""
        self._trial.refresh(state)

    async def _refresh(self) -> None:
        """Look at the newest decision, and show it when it is another one."""
        if not self._pane.visible:
            return
        shot = await run_in_threadpool(self._console.decisions.look)
        if shot is None or self._is_held.value:
            return
        if shot.number != self._number:
            self._number = shot.number
            self._show(shot)
        if shot.values != self._values:
            self._values = shot.values
            self._chart.options.clear()
            self._chart.options.update(value_options(shot.values))
            self._chart.update()

    def _show(self, shot: DecisionShot) -> None:
        view = shot.view
        if view is None:
            self._pictures.set_content(tables.escape(shot.problem))
            return
        pictures = "".join(camera_html(each, view) for each in shot.cameras)
        self._pictures.set_content(f"<div class='why-cameras'>{pictures or 'no camera picture yet'}</div>")
        self._facts.set_content(tables.figures_table(_facts(view, is_trial=shot.is_trial)))
        self._table.set_content(candidates_table(view))
        self._show_scene(scene_options(view))

    def _show_scene(self, options: dict[str, Any]) -> None:
        """Not before there is one: a browser loads what draws in 3D with the first picture, and that takes a while."""
        if self._scene is None:
            with self._space:
                self._scene = ui.echart(options, enable_3d=True).props("id=why-scene").classes("why-scene w-full")
            return
        self._scene.options.clear()
        self._scene.options.update(options)
        self._scene.update()


def _facts(view: DecisionView, *, is_trial: bool) -> list[tuple[str, str]]:
    sent = f"{view.kind}, candidate {view.chosen}" if view.chosen >= 0 else view.kind
    version = str(view.policy_version) if view.policy_version else "base (0)"
    return [
        ("instruction followed", view.instruction or "none"),
        ("method", f"{view.method}, policy version {version}"),
        ("would send; nothing moves" if is_trial else "sent chunk", sent),
        ("critic's value", "no critic chose" if view.value is None else f"{view.value:.3f}"),
    ]


def value_options(values: tuple[tuple[float, float], ...]) -> dict[str, Any]:
    """The critic's value over the time of an episode, as options of an ECharts picture."""
    data = [[round(at_s, _DIGITS), round(value, _DIGITS)] for at_s, value in values]
    return {
        "animation": False,
        "grid": {"left": 45, "right": 20, "top": 10, "bottom": 40},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "value", "name": "time in the episode [s]", "nameLocation": "middle", "nameGap": 24},
        "yAxis": {"type": "value", "scale": True, "splitNumber": 4},
        "series": [{"type": "line", "step": "end", "symbolSize": 5, "color": "#1b7f3b", "data": data}],
    }
