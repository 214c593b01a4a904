# SPDX-License-Identifier: Apache-2.0
"""The operator console in a browser, beside a simulated robot with a policy that waves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.browser import Browser, free_port
from harness.cells import Cell, full_cell
from harness.until import until
from harness.world import World

EPISODES = {"reward_sources": ["sim_truth", "operator"], "max_steps": 2000}
HEARTBEAT_S = 2.0


class Desk:
    """A robot with a console and a browser.

    Args:
        world: Where they live.
        browser: Opens the page.
        script: Runs in the page before any of its own.
        parameters: Further ones of the console.
    """

    def __init__(
        self, world: World, browser: Browser, script: str = "", parameters: Mapping[str, Any] | None = None
    ) -> None:
        self.world, self.browser, port = world, browser, free_port()
        self.cell: Cell = full_cell(
            world, parameters={"episode_node": EPISODES, "steering_node": {"execute_steps": 6, "n_candidates": 3}}
        )
        self.log = world.folder / "console.jsonl"
        # A crowded machine may keep a page waiting for longer than a person's own computer does.
        own = {"heartbeat_timeout_s": HEARTBEAT_S, "input_timeout_s": 1.0, "command_log": str(self.log)}
        world.node("operator_console", "console_node", parameters={"port": port, **own, **(parameters or {})})
        world.wait_ready("console_node")
        self.url = f"http://127.0.0.1:{port}/"
        self.page = browser.page(self.url, script)

    def take_control(self) -> None:
        """Be the operator."""
        self.page.click("#take")
        self.page.wait_for_function("document.body.classList.contains('in-control')")

    def press(self, command: str) -> str:
        """Press a button; what the page says came of it."""
        self.page.click(f"#command-{command}:not([disabled])")
        word = {"reset": "reset:", "release_estop": "released", "success": "marked: success"}.get(command, ": ")
        self.page.wait_for_function("word => document.getElementById('answer').textContent.includes(word)", arg=word)
        return str(self.page.inner_text("#answer"))

    def start_episode(self) -> None:
        """Start one, and wait until the arm runs."""
        self.press("start_episodes")
        self.world.watcher.wait_state("arm_node", "RUNNING", 90.0)

    def shows(self, figure: str, text: str) -> None:
        """Wait until a figure of the page has a text."""
        self.page.wait_for_function(
            "([name, text]) => document.querySelector(`[data-figure='${name}']`).textContent.includes(text)",
            arg=[figure, text],
        )

    def why_lost(self) -> str:
        """What the console says of the operator it has lost."""
        (entry,) = until(lambda: [each for each in self.commands() if each["command"] == "lost"], 10.0, "who was lost")
        return str(entry["answer"])

    def commands(self) -> list[dict[str, str]]:
        """What the console has logged."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
