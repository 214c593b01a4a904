# SPDX-License-Identifier: Apache-2.0
"""The page: the stop and who is in control always in reach, and below it one tab per purpose."""

from __future__ import annotations

import time
from pathlib import Path

from nicegui import Client, ui

from operator_console.web.browse_panel import BrowsePanel
from operator_console.web.interface import Console
from operator_console.web.learn_panel import LearnPanel
from operator_console.web.operate_panel import OperatePanel
from operator_console.web.why_panel import WhyPanel

_REFRESH_S = 0.5
_SHORT = 4
_TAB = "tab"  # in the address
_STATIC = Path(__file__).with_name("static")


def viewer_name(client: Client) -> str:
    """Who looks at a page, for people and the log: address and a few characters of the page's name."""
    address = client.request.client.host if client.request.client is not None else "unknown"
    return f"{address}#{client.id[:_SHORT]}"


def build_page(console: Console) -> None:
    """Build one page."""
    client = ui.context.client
    ui.add_head_html(f'<meta name="whetstone-client" content="{client.id}">')
    ui.add_head_html('<link rel="stylesheet" href="/static_console/console.css">')
    ui.add_body_html('<script src="/static_console/console.js" defer></script>')
    _build_header()
    viewer = viewer_name(client)
    panes = _build_tabs("Operate", "Why", "Learn", "Browse")
    with panes["Operate"]:
        operate = OperatePanel(console, client.id, viewer)
    why = WhyPanel(console, client.id, viewer, panes["Why"])
    learn = LearnPanel(console, client.id, viewer, panes["Learn"])
    browse = BrowsePanel(console, client.id, viewer, panes["Browse"])

    def refresh() -> None:
        state = console.page_state(client.id)
        operate.refresh(console.session.snapshot(time.monotonic()), state)
        why.refresh(state)
        learn.refresh(state)
        browse.refresh(state)

    refresh()
    ui.timer(_REFRESH_S, refresh)


def _build_tabs(*names: str) -> dict[str, ui.column]:
    """Panes of which one is seen; the address says which, so that a page that is loaded again shows the same.

    All of them stay in the page: the control connection shows the clutch wherever a person looks.
    """
    asked = ui.context.client.request.query_params.get(_TAB, "")
    first = next((name for name in names if name.lower() == asked), names[0])

    def show(name: str) -> None:
        for each, pane in panes.items():
            pane.set_visibility(each == name)

    def choose(name: str) -> None:
        show(name)
        ui.navigate.history.replace(f"?{_TAB}={name.lower()}")

    with ui.tabs(value=first, on_change=lambda event: choose(event.value)).classes("w-full"):
        for name in names:
            ui.tab(name).props(f"id=tab-{name.lower()} no-caps")
    panes = {name: ui.column().classes("w-full") for name in names}
    show(first)
    return panes


def _build_header() -> None:
    with ui.header().classes("items-center justify-between").style("background: #263238"):
        with ui.column().classes("gap-0"):
            ui.label("Whetstone operator console").classes("text-lg font-bold")
            ui.label("connecting").props("id=control-line").classes("text-sm")
        with ui.row().classes("items-center"):
            _button("take", "Take control")
            _button("estop", "EMERGENCY STOP", "space bar; also without control")


def _button(name: str, text: str, below: str = "") -> None:
    """A button that the page's own script serves: it works without an answer from the server."""
    with ui.element("button").props(f"id={name} type=button"):
        ui.html(text + (f"<small>{below}</small>" if below else ""), sanitize=False)
