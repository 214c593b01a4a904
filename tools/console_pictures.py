# SPDX-License-Identifier: Apache-2.0
"""Pictures of the operator console for the documentation, from the simulator: `python tools/console_pictures.py`.

Needs Debian's chromium and Playwright for Python (`make browser`).
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import sync_playwright

from whetstone_cli.cli.stack import Stack
from whetstone_common.core.run_session import is_trained

ROOT = Path(__file__).resolve().parents[1]
_WAIT_MS = 180_000
_WIDTH, _HEIGHT = 1280, 900
_WAIT_S = 0.2
_ANIMATION_MS = 500  # of the line below a tab
_EPISODES, _SOON_MS = 5, 5000
_RUN_MS, _POLLING_MS = 1_800_000, 500
# A crowded machine keeps a page waiting for longer than a person's own computer does.
_PATIENCE = "/**/console_node:\n  ros__parameters:\n    heartbeat_timeout_s: 10.0\n    input_timeout_s: 3.0\n"
PICTURES = ("takeover", "why", "browse", "learn")


def take_over(page: Any, out: Path) -> None:
    """Drive one episode, and take the picture on the way."""
    for node in ("sim_node", "vla_node", "steering_node", "arm_node", "episode_node"):
        page.wait_for_selector(f"tr[data-node={node}] .state-good")
    page.click("#take")
    for _ in range(_EPISODES):
        page.click("#command-start_episodes:not([disabled])")
        page.wait_for_selector("[data-figure=driver]:text('policy')")
        page.mouse.click(5, 500)
        page.keyboard.down("r")
        page.wait_for_selector("body.engaged")
        # On a crowded machine the policy may have succeeded before the key is heard.
        with contextlib.suppress(PlaywrightTimeout):
            page.wait_for_selector("[data-figure=driver]:text('human')", timeout=_SOON_MS)
            page.screenshot(path=out / "console-takeover.png")
            page.keyboard.up("r")
            return
        page.keyboard.up("r")
    raise SystemExit(f"the policy succeeded {_EPISODES} times before a human could take over")


def why(page: Any, out: Path) -> None:
    """Look at a decision of the episode that runs."""
    page.click("#tab-why")
    page.wait_for_selector("[data-path=sent]")
    page.wait_for_timeout(_ANIMATION_MS)
    page.screenshot(path=out / "console-why.png")
    page.click("#tab-operate")


def browse(page: Any, out: Path) -> None:
    """Judge the episode that runs, and look into its recording where a human drove."""
    page.click("#command-success:not([disabled])")
    page.click("#tab-browse")
    page.click("#episodes td:has-text('.mcap')")
    page.wait_for_selector("img[data-recorded=front]")
    page.wait_for_selector("#episode-step:has-text('step 1 of')")
    box = page.locator("#episode-slider").bounding_box()
    page.click("#episode-slider", position={"x": 0.8 * box["width"], "y": 0.5 * box["height"]})
    page.wait_for_selector("#episode-step:not(:has-text('step 1 of'))")
    page.wait_for_timeout(_ANIMATION_MS)
    page.screenshot(path=out / "console-browse.png")


def learn(page: Any, out: Path, episodes: int) -> None:
    """Train from the page until the curve has so many points, and take the picture while it grows."""
    page.click("#tab-learn")
    page.wait_for_selector(":text('edits the VLA')")
    page.click("#take")
    page.fill("#run-name", "first")
    page.click("#run-start:not([disabled])")
    page.wait_for_function(
        """count => getElement(Number(document.querySelector('.run-curve').id.slice(1))).chart.getOption().series
            .some(series => series.name === 'first' && series.data.length >= count)""",
        arg=episodes,
        timeout=_RUN_MS,
        polling=_POLLING_MS,
    )
    stay_in_control(page)
    page.click("#tab-learn")
    page.wait_for_timeout(_ANIMATION_MS)
    page.screenshot(path=out / "console-learn.png")


def stay_in_control(page: Any) -> None:
    """Take control again, and release the stop, where a crowded machine has lost the page meanwhile."""
    if page.evaluate("document.body.classList.contains('in-control')"):
        return
    page.click("#tab-operate")
    page.click("#take")
    page.click("#command-release_estop:not([disabled])")
    page.wait_for_selector("body:not(.estop-pressed)")


def open_page(playwright: Any, chromium: str, port: int) -> Any:
    """A browser's page of the console, connected."""
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
    page.set_default_timeout(_WAIT_MS)
    page.goto(f"http://127.0.0.1:{port}/")
    # Before NiceGUI's handshake the page may load itself anew, and forget what was clicked.
    page.wait_for_function("window.did_handshake")
    page.wait_for_selector("#control-line:has-text('answer in')")
    return page


@contextlib.contextmanager
def console_alone(port: int, log: Path, runs: Path) -> Iterator[None]:
    """A console without a robot, for as long as the block; the run that was started from it ends with it."""
    command = [sys.executable, "-m", "whetstone_cli.cli.main", "console", f"--port={port}", f"--runs={runs}"]
    with log.open("ab") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
    try:
        wait_for(port, lambda: None)
        yield
    finally:
        process.terminate()
        process.wait()
        while any(is_trained(folder) for folder in runs.iterdir()):
            time.sleep(_WAIT_S)


def main() -> None:
    """Start what each picture shows, and a browser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--pictures", nargs="+", choices=PICTURES, default=PICTURES)
    parser.add_argument("--episodes", type=int, default=12, help="of the run whose curve is shown")
    parser.add_argument("--log", type=Path, default=ROOT / "out" / "console_pictures.log")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        parser.error("there is no chromium on this machine: make browser")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    arguments.log.parent.mkdir(parents=True, exist_ok=True)
    given = {"console": "true", "console_port": str(port), "n_candidates": "8", "pace": "lockstep"}
    with sync_playwright() as playwright:
        if {"takeover", "why", "browse"} & set(arguments.pictures):
            patience = arguments.log.with_suffix(".yaml")
            patience.write_text(_PATIENCE, encoding="utf-8")
            given |= {"experiment": str(patience.resolve()), "record": "true"}
            with (
                tempfile.TemporaryDirectory() as recordings,
                Stack({**given, "record_dir": recordings}, arguments.log) as stack,
            ):
                wait_for(port, stack.check)
                page = open_page(playwright, chromium, port)
                take_over(page, arguments.out)
                if "why" in arguments.pictures:
                    why(page, arguments.out)
                if "browse" in arguments.pictures:
                    browse(page, arguments.out)
        if "learn" in arguments.pictures:
            with tempfile.TemporaryDirectory() as runs, console_alone(port, arguments.log, Path(runs)):
                learn(open_page(playwright, chromium, port), arguments.out, arguments.episodes)


def wait_for(port: int, check: Callable[[], object]) -> None:
    """Wait until the page is served; what `check` raises ends the wait."""
    while True:
        check()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_WAIT_S)


if __name__ == "__main__":
    main()
