# SPDX-License-Identifier: Apache-2.0
"""Watch and operate: cameras, nodes, the episode, commands and takeover."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from operator_console.core.commands import Command
from operator_console.core.control import ControlError
from operator_console.core.session import GraphSnapshot
from operator_console.web import tables
from operator_console.web.answer_line import AnswerLine
from operator_console.web.command_answer import answer_of
from operator_console.web.interface import Console, PageState

_LOG_LINES = 20
_MS_PER_S = 1000.0
_KEYS = (
    "hold t or a motion key to take over: w s a d r f move, u o i k j l turn, g gripper; or hold a shoulder button of "
    "a gamepad: left stick and pad move, right stick turns. Let go to give the arm back."
)
_COLOURS = {Command.SUCCESS: "positive", Command.FAILURE: "negative", Command.ABORT: "warning"}
_ARM = (Command.ARM, Command.DISARM, Command.RESET, Command.HOLD, Command.RELEASE_ESTOP)
_EPISODE = (Command.CANCEL_EPISODES, Command.SUCCESS, Command.FAILURE, Command.SCENE_RESET, Command.ABORT)


class OperatePanel:
    """What one page shows and commands.

    Args:
        console: The node.
        key: Of the page.
        viewer: Who looks at it.
    """

    def __init__(self, console: Console, key: str, viewer: str) -> None:
        self._console, self._key, self._viewer = console, key, viewer
        self._for_operators: list[ui.element] = []
        with ui.row().classes("w-full items-start no-wrap"):
            with ui.column().classes("w-1/2"):
                self._build_cameras()
                self._build_takeover()
            with ui.column().classes("w-1/2"):
                self._build_commands()
                self._episode = self._card("Episode")
                self._policy = self._card("Policy")
                self._build_versions()
        self._nodes = self._card("Nodes")
        self._log = self._card("Commands")

    def _build_cameras(self) -> None:
        period_ms = round(_MS_PER_S * self._console.camera_period_s)
        with ui.row().classes("w-full no-wrap"):
            for name in self._console.cameras.names:
                with ui.column().classes("gap-0 w-1/2"):
                    ui.element("img").props(f"data-camera={name} data-period-ms={period_ms}").classes("camera")
                    ui.label(name).classes("text-xs text-grey")

    def _build_takeover(self) -> None:
        with ui.card().classes("w-full"):
            ui.label("Takeover").classes("font-bold")
            ui.html('<span id="clutch">clutch free</span> <span id="problem"></span>', sanitize=False)
            with ui.row().classes("items-center w-full no-wrap"):
                ui.html('<button class="hold" data-hold="t" type="button">Hold to take over</button>', sanitize=False)
                self._speed_text = ui.label().classes("text-sm")
                slider = ui.slider(
                    min=5, max=100, step=5, value=100, on_change=lambda event: self._set_speed(event.value)
                )
                self._for_operators.append(slider.props("label id=speed").classes("w-40"))
            ui.label(_KEYS).classes("text-xs text-grey")

    def _build_commands(self) -> None:
        with ui.card().classes("w-full"):
            with ui.row():
                for command in _ARM:
                    self._button(command)
            self._words = ui.input("instruction (empty: the task's own)").props("for=instruction").classes("w-full")
            with ui.row():
                self._button(Command.START_EPISODES, "start an episode", lambda: self._words.value.strip())
                self._button(Command.INSTRUCT, "say it now", lambda: self._words.value.strip())
                for command in _EPISODE:
                    self._button(command)
            self._answer = AnswerLine("answer", "take control to operate")

    def _build_versions(self) -> None:
        """Go back to earlier weights of the small policies, of those that steering_node keeps."""
        with ui.card().classes("w-full"), ui.row().classes("items-center"):
            self._version = ui.input("version of the policy weights, 0: the newest", value="0")
            self._for_operators.append(self._version.props("for=policy-version").classes("w-64"))
            self._button(Command.PIN_POLICY, "play this version", lambda: self._version.value.strip())

    def _button(self, command: Command, text: str = "", words: Callable[[], str] | None = None) -> None:
        async def act() -> None:
            await self._act(command, words() if words is not None else "")

        button = ui.button(text or command.value, on_click=act, color=_COLOURS.get(command, "primary"))
        self._for_operators.append(button.props(f"id=command-{command.name.lower()} dense no-caps"))

    def _card(self, title: str) -> ui.html:
        with ui.card().classes("w-full"):
            ui.label(title).classes("font-bold")
            return ui.html("", sanitize=False)

    async def _act(self, command: Command, words: str) -> None:
        answer = self._console.command(self._key, self._viewer, command, words)
        self._answer.show(f"{command.value}: {(await answer_of(answer)).text}")

    def _set_speed(self, percent: float) -> None:
        try:
            self._console.set_speed(self._key, percent / 100.0)
        except (ControlError, ValueError) as error:
            self._answer.show(f"speed: {error}")

    def refresh(self, snapshot: GraphSnapshot, state: PageState) -> None:
        """Show what is true now."""
        self._answer.refresh(controls=state.controls)
        for element in self._for_operators:
            element.set_enabled(state.controls)  # type: ignore[attr-defined]
        self._speed_text.set_text(f"speed {100 * state.speed:.0f} % ({state.speed_m_s:.2f} m/s)")
        self._nodes.set_content(tables.node_table(snapshot.nodes))
        self._episode.set_content(tables.figures_table(tables.episode_rows(snapshot)))
        self._policy.set_content(tables.figures_table(tables.policy_rows(snapshot)))
        lines = [tables.escape(entry.text) for entry in self._console.log.newest[:_LOG_LINES]]
        self._log.set_content(f"<div class='log'>{'<br>'.join(lines) or 'none yet'}</div>")
