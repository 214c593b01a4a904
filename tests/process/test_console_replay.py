# SPDX-License-Identifier: Apache-2.0
"""A recorded motion on the arm, started from the page: the same scene, the same end; a driving key takes the arm."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.browser import chromium
from harness.desk import Desk
from harness.world import World
from whetstone_cli.cli import demos

pytestmark = [pytest.mark.timeout(900), pytest.mark.cores(4)]


class ReplayDesk(Desk):
    """A desk that has a demonstration of the scripted expert to look at."""

    def look_at(self, recording: Path) -> None:
        self.page.click("#tab-browse")
        self.page.click(f"#episodes td:text-is('{recording.name}')")
        self.page.wait_for_function("document.getElementById('episode-step').textContent.includes('step 1 of')")

    def replay(self) -> None:
        self.page.click("#replay-start:not([disabled])")
        self.says("plays")

    def says(self, text: str) -> None:
        self.page.wait_for_function(
            "text => document.getElementById('replay-status').textContent.includes(text)", arg=text
        )


@pytest.mark.usefixtures("keep_environment")
def test_when_a_demonstration_is_replayed_expect_its_success_again_and_a_key_to_take_the_arm(world: World) -> None:
    demos.run(demos.DemosOptions("pick_place", 1, 3, world.folder / "demos"))
    (recording,) = (world.folder / "demos" / "mcap").glob("*.mcap")
    with chromium() as browser:
        desk = ReplayDesk(world, browser, parameters={"record_dir": str(recording.parent)})
        desk.look_at(recording)
        assert desk.page.is_disabled("#replay-start"), "a page without control must be read-only"
        desk.take_control()
        desk.replay()
        desk.says(": succeeded")
        world.watcher.wait_state("arm_node", "READY", 30.0)

        desk.replay()
        desk.page.click("body", position={"x": 5, "y": 400})
        desk.page.keyboard.down("w")
        desk.says("the operator drives")
        desk.page.click("#replay-start:not([disabled])")
        desk.page.wait_for_function("document.getElementById('replay-answer').textContent.includes('let go')")
        desk.page.keyboard.up("w")
        desk.page.wait_for_function("!document.body.classList.contains('engaged')")
        world.watcher.wait_state("arm_node", "RUNNING", 10.0)
        desk.page.click("#tab-operate")
        desk.press("cancel_episodes")
        world.watcher.wait_state("arm_node", "READY", 30.0)

        desk.page.click("#tab-browse")
        desk.replay()
        desk.page.click("#replay-stop:not([disabled])")
        desk.says(": aborted")
        world.watcher.wait_state("arm_node", "READY", 30.0)
