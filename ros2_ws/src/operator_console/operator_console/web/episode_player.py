# SPDX-License-Identifier: Apache-2.0
"""One recorded episode on the page: its pictures step by step, and its joints, drivers and values over time."""

from __future__ import annotations

from urllib.parse import urlencode

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from operator_console.core.playback import EpisodeReplay, PlaybackError
from operator_console.web.interface import Console
from operator_console.web.trace_chart import BANDS, DRIVERS, trace_options
from whetstone_common.core.enums import Actor

_PLAY_S = 0.1
_NOTHING = "click an episode to see it"


class EpisodePlayer:
    """What a page shows of one episode.

    Args:
        console: The node.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._place = ("", "")
        self._episode: EpisodeReplay | None = None
        self._images: dict[str, ui.element] = {}
        with ui.card().classes("w-full"):
            self._title = ui.label(_NOTHING).props("id=episode-title").classes("font-bold")
            self._cameras = ui.row().classes("w-full no-wrap")
            with ui.row().classes("w-full items-center no-wrap"):
                self._play = ui.button(icon="play_arrow", on_click=self._on_play).props("id=episode-play dense flat")
                self._slider = ui.slider(min=0, max=1, step=1, value=0, on_change=self._show_step)
                self._slider.props("id=episode-slider").classes("grow")
                self._where = ui.label().props("id=episode-step").classes("text-sm whitespace-nowrap")
            ui.html(_legend(), sanitize=False)
            self._chart = ui.echart({}).classes("episode-trace w-full").style("height: 22rem")
        self._timer = ui.timer(_PLAY_S, self._advance, active=False)
        self._show_controls(is_shown=False)

    async def show(self, collection: str, name: str, title: str) -> None:
        """Read an episode and show its first step; one that cannot be read says why."""
        self._stop()
        self._title.set_text(f"{name}: reading")
        try:
            episode = await run_in_threadpool(self._console.recordings.playback, collection, name)
        except PlaybackError as error:
            self.clear(str(error))
            return
        self._place, self._episode = (collection, name), episode
        self._title.set_text(title)
        self._build_cameras(episode)
        self._chart.options.clear()
        self._chart.options.update(trace_options(episode))
        self._chart.update()
        self._slider.props(f"max={len(episode) - 1}")
        self._show_controls(is_shown=True)
        self._slider.set_value(0)
        self._show_step()

    def clear(self, text: str = _NOTHING) -> None:
        """Show no episode."""
        self._stop()
        self._episode = None
        self._title.set_text(text)
        self._cameras.clear()
        self._show_controls(is_shown=False)

    def _build_cameras(self, episode: EpisodeReplay) -> None:
        self._cameras.clear()
        with self._cameras:
            for name in episode.pictures:
                with ui.column().classes("gap-0 grow"):
                    self._images[name] = ui.element("img").props(f'data-recorded="{name}"').classes("camera")
                    ui.label(name).classes("text-xs text-grey")
        self._images = {name: self._images[name] for name in episode.pictures}

    def _show_controls(self, *, is_shown: bool) -> None:
        for element in (self._play, self._slider, self._where, self._chart):
            element.set_visibility(is_shown)

    def _show_step(self) -> None:
        episode = self._episode
        if episode is None:
            return
        step = min(int(self._slider.value), len(episode) - 1)
        for camera, image in self._images.items():
            query = urlencode({"collection": self._place[0], "name": self._place[1], "camera": camera, "step": step})
            image.props(f'src="/episode_picture?{query}"')
        driver = DRIVERS[Actor(int(episode.actors[step]))]
        value = next((value for at, value in reversed(episode.values) if at <= step), None)
        critic = f" · value {value:.3f}" if value is not None else ""
        self._where.set_text(f"step {step + 1} of {len(episode)} · {episode.times_s[step]:.2f} s · {driver}{critic}")
        self._chart.run_chart_method("dispatchAction", {"type": "showTip", "seriesIndex": 0, "dataIndex": step})

    def _on_play(self) -> None:
        if self._timer.active:
            self._stop()
            return
        if self._episode is not None and self._slider.value >= len(self._episode) - 1:
            self._slider.set_value(0)
        self._timer.activate()
        self._play.props("icon=pause")

    def _stop(self) -> None:
        self._timer.deactivate()
        self._play.props("icon=play_arrow")

    def _advance(self) -> None:
        if self._episode is None or self._slider.value >= len(self._episode) - 1:
            self._stop()
            return
        self._slider.set_value(self._slider.value + 1)


def _legend() -> str:
    """Colours of who drove."""
    boxes = "".join(
        f"<span><i style='background:{BANDS[actor]}'></i>{DRIVERS[actor]}</span>"
        for actor in (Actor.POLICY, Actor.HUMAN, Actor.HOLD)
    )
    return f"<div class='drivers'>driven by {boxes}</div>"
