# SPDX-License-Identifier: Apache-2.0
"""The operator console in a real browser, beside the real nodes and the simulator."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from experience.core.dataset import Dataset
from experience.core.recording.reader import metadata
from fakes.lerobot_files import level_of
from fakes.recordings import METADATA, recording, scored
from harness.armlog import HUMAN
from harness.browser import Browser, chromium, free_port
from harness.desk import HEARTBEAT_S, Desk
from harness.until import stays, until
from harness.world import World
from whetstone_common.core.run_session import is_trained

# A browser without a GPU takes a core by itself, and reaction times are judged.
pytestmark = [pytest.mark.timeout(900), pytest.mark.cores(4)]

# From the last heartbeat: its time-out, one tick of the console, the arm's own ramp; the rest is for a crowded machine.
HOLDS_S = HEARTBEAT_S + 8.0
_SENT_RGB = (255, 109, 0)


def has_colour(png: bytes, rgb: tuple[int, int, int]) -> bool:
    """Whether a picture has a pixel of nearly that colour."""
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).astype(int)
    return bool((np.abs(bgr - rgb[::-1]).max(axis=2) < 25).any())


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    with chromium() as browser:
        yield Desk(world, browser)


def test_when_an_operator_uses_the_page_expect_cameras_an_episode_takeover_success_and_stop(desk: Desk) -> None:
    page, watcher = desk.page, desk.world.watcher
    for name in ("sim_node", "vla_node", "steering_node", "arm_node", "episode_node", "observation_node"):
        page.wait_for_selector(f"tr[data-node='{name}']")
    for camera in ("front", "wrist"):
        page.wait_for_function(f"Number(document.querySelector('img[data-camera={camera}]').dataset.pictures) >= 3")
    assert page.is_disabled("#command-arm"), "a page without control must be read-only"
    assert page.text_content("#answer") == "take control to operate"

    desk.take_control()
    page.wait_for_function("['answer', 'trial-answer'].every(id => document.getElementById(id).textContent === '')")
    other = desk.browser.page(desk.url)
    other.wait_for_function("document.getElementById('take').disabled")
    other.close()

    page.fill("#policy-version", "7")
    assert "refused" in desk.press("pin_policy"), "steering_node keeps no such version"
    page.fill("#instruction", "put the red cube on the blue plate")
    desk.start_episode()
    desk.shows("instruction", "put the red cube on the blue plate")
    desk.shows("driver", "policy")

    page.click("body", position={"x": 5, "y": 400})  # out of the input, where keys are words
    page.keyboard.down("w")
    page.wait_for_function("document.body.classList.contains('engaged')")
    desk.cell.wait_moving(HUMAN, 30.0)
    page.keyboard.up("w")
    page.wait_for_function("!document.body.classList.contains('engaged')")
    desk.shows("driver", "policy")

    assert "marked: success" in desk.press("success")
    desk.shows("success rate", "1 of 1")
    watcher.wait_state("arm_node", "READY", 30.0)

    page.click("#tab-why")
    page.click("#trial-ask")
    page.wait_for_function("document.getElementById('trial-answer').textContent.includes('asked')")
    page.wait_for_function("document.body.innerText.includes('would send; nothing moves')")
    page.wait_for_selector("[data-why=front] [data-path='candidate 7']", state="attached")
    assert watcher.latest("arm_node").state == "READY", "a question must not move the arm"

    page.click("#tab-operate")
    desk.start_episode()
    page.click("#tab-why")
    for camera in ("front", "wrist"):
        for name in ("candidate 0", "candidate 2", "sent"):
            page.wait_for_selector(f"[data-why={camera}] [data-path='{name}']", state="attached")
    page.wait_for_selector("[data-candidate='2']")
    until(lambda: has_colour(page.locator("#why-scene").screenshot(), _SENT_RGB), 60.0, "the sent chunk in 3D")
    page.keyboard.press("Space")
    watcher.wait_state("arm_node", "STOPPED", 10.0, reason="ESTOP")
    page.click("#tab-operate")
    assert "released" in desk.press("release_estop")
    desk.press("reset")
    assert desk.browser.foreign == [], "a page must not ask anybody else"
    done = [entry["command"] for entry in desk.commands()]
    assert [done.count(word) for word in ("take control", "emergency stop", "mark success", "reset")] == [1, 1, 1, 1]


def test_when_the_browser_is_killed_in_control_expect_the_arm_to_stop_until_a_person_resets_it(desk: Desk) -> None:
    desk.take_control()
    desk.start_episode()
    desk.browser.kill()
    desk.world.watcher.wait_state("arm_node", "STOPPED", HOLDS_S, reason="ESTOP")
    assert "in control" in desk.why_lost()


def test_when_the_browser_is_killed_while_it_drives_expect_the_arm_to_stop(desk: Desk) -> None:
    desk.take_control()
    desk.start_episode()
    desk.page.keyboard.down("t")
    desk.page.wait_for_function("document.body.classList.contains('engaged')")
    desk.world.watcher.wait_state("arm_node", "RUNNING", 20.0, reason="TAKEOVER")
    desk.browser.kill()
    desk.world.watcher.wait_state("arm_node", "STOPPED", HOLDS_S)


def test_when_the_page_hangs_in_control_expect_the_arm_to_stop_after_the_heartbeat_timeout(desk: Desk) -> None:
    desk.take_control()
    desk.start_episode()
    desk.page.evaluate("() => { setTimeout(() => { while (true) {} }, 0); }")
    desk.world.watcher.wait_state("arm_node", "STOPPED", HOLDS_S, reason="ESTOP")
    assert "no heartbeat" in desk.why_lost()


def test_when_the_page_of_a_viewer_closes_expect_the_arm_to_go_on(desk: Desk) -> None:
    desk.take_control()
    desk.start_episode()
    viewer = desk.browser.page(desk.url)
    viewer.close()
    desk.page.wait_for_function("document.getElementById('control-line').textContent.includes('1 page open')")
    stays(lambda: desk.world.watcher.latest("arm_node").state == "RUNNING", HEARTBEAT_S + 1.0, "the arm goes on")


# A headless browser has no device. This is what the browser gives; all behind it is real.
_GAMEPAD = """
window.pad = {mapping: "standard", axes: [0, 0, 0, 0], buttons: Array.from({length: 17}, () => ({pressed: false}))};
navigator.getGamepads = () => [window.pad];
"""


def test_when_a_gamepad_is_moved_expect_the_arm_to_follow_only_while_the_clutch_is_held(world: World) -> None:
    with chromium() as browser:
        desk = Desk(world, browser, _GAMEPAD)
        desk.take_control()
        desk.start_episode()
        desk.shows("driver", "policy")
        desk.page.evaluate("pad.axes[1] = -1")
        stays(lambda: desk.page.evaluate("!document.body.classList.contains('engaged')"), 1.0, "the clutch is free")
        desk.page.evaluate("pad.buttons[4].pressed = true")
        desk.page.wait_for_function("document.body.classList.contains('engaged')")
        desk.cell.wait_moving(HUMAN, 30.0)
        desk.page.evaluate("pad.buttons[4].pressed = false")
        desk.page.wait_for_function("!document.body.classList.contains('engaged')")
        desk.shows("driver", "policy")


_TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of this test
_ASK_FOR_CONTROL = """() => new Promise((done) => {
    const client = document.querySelector("meta[name=whetstone-client]").content;
    const socket = new WebSocket(`wss://${location.host}/control?client=${client}`);
    socket.onopen = () => socket.send(JSON.stringify({request: "take", keys: []}));
    socket.onmessage = (event) => done(JSON.parse(event.data).problem);
})"""


def test_when_the_console_is_on_a_network_expect_only_who_has_the_token_and_one_of_them_in_control(
    world: World,
) -> None:
    port, folder = free_port(), world.folder
    (folder / "token").write_text(_TOKEN, encoding="utf-8")
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)  # noqa: S603, S607
    files = {"token_file": "token", "tls_cert": "cert.pem", "tls_key": "key.pem"}
    parameters = {name: str(folder / file) for name, file in files.items()}
    listens = {"host": "0.0.0.0", "port": port, "heartbeat_timeout_s": 10.0}  # noqa: S104 - with token and TLS
    world.node("operator_console", "console_node", parameters={**parameters, **listens})
    world.wait_ready("console_node")
    url = f"https://127.0.0.1:{port}/"
    with chromium() as browser:
        assert browser.blank().goto(url).status == 401
        assert browser.blank().goto(f"{url}?token={_TOKEN[::-1]}").status == 401
        page = browser.page(f"{url}?token={_TOKEN}")
        assert page.goto(url).status == 200, "the token is kept as a cookie"
        page.wait_for_selector("#take:not([disabled])")
        page.click("#take")
        page.wait_for_function("document.body.classList.contains('in-control')")
        viewer = browser.page(f"{url}?token={_TOKEN}")
        viewer.wait_for_function("document.getElementById('take').disabled")
        assert viewer.is_disabled("#command-arm")
        assert "is in control; one page at a time is" in viewer.evaluate(_ASK_FOR_CONTROL)
        assert page.evaluate("document.body.classList.contains('in-control')")


# Two cores that others use besides take minutes to bring a stack up.
RUN_MS = 400_000.0
# The page is busy enough; by itself Playwright looks at every frame.
POLLING_MS = 500.0


class LearnTab:
    """The page for learning, of a console without a robot: a run brings its own."""

    def __init__(self, world: World, browser: Browser) -> None:
        self.world, self.browser, port = world, browser, free_port()
        self.log, self.runs = world.folder / "console.jsonl", world.folder / "runs"
        # A crowded machine may keep a page waiting for longer than a person's own computer does.
        parameters = {
            "port": port, "command_log": str(self.log), "run_dir": str(self.runs), "heartbeat_timeout_s": 10.0,
        }  # fmt: skip
        # Stacks tell each other their domains in the machine's own folder.
        env = {"TMPDIR": tempfile.gettempdir()}
        world.node("operator_console", "console_node", parameters=parameters, env=env)
        world.wait_ready("console_node")
        self.url = f"http://127.0.0.1:{port}/"
        self.page = self.open()

    def open(self) -> Any:
        """A page that shows the runs, and knows what there is to choose from."""
        page = self.browser.page(self.url)
        page.click("#tab-learn")
        page.wait_for_function("document.body.innerText.includes('edits the VLA')")
        return page

    def says(self, element: str, text: str) -> None:
        self.page.wait_for_function(
            "([id, text]) => document.getElementById(id).textContent.includes(text)", arg=[element, text],
            timeout=RUN_MS, polling=POLLING_MS,
        )  # fmt: skip

    def press(self, button: str) -> None:
        """Press a button; a page that a crowded machine has let fall silent takes control again."""
        if not self.page.evaluate("document.body.classList.contains('in-control')"):
            self.page.click("#take")
        self.page.click(f"#run-{button}:not([disabled])")

    def order(self, name: str) -> None:
        self.page.fill("#run-name", name)
        self.page.fill("#run-minutes", "50")
        self.page.fill("#run-evaluate", "0")
        self.press("start")

    def wait_points(self, count: int) -> None:
        """Until the chosen run's curve has so many points in the picture itself."""
        self.page.wait_for_function(
            # A page that is being loaded anew has neither yet.
            """count => typeof getElement === 'function' && document.querySelector('.run-curve') !== null
                && getElement(Number(document.querySelector('.run-curve').id.slice(1))).chart?.getOption().series
                    .some(series => series.name === 'mine' && series.data.length >= count)""",
            arg=count, timeout=RUN_MS, polling=POLLING_MS,
        )  # fmt: skip

    def episodes(self) -> int:
        path = self.runs / "mine" / "episodes.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.cores(2)  # nothing is driven by hand
def test_when_a_run_is_started_from_the_page_expect_its_curve_one_at_a_time_and_stop_and_resume(world: World) -> None:
    with chromium() as browser:
        tab = LearnTab(world, browser)
        assert tab.page.is_disabled("#run-start"), "a page without control must be read-only"
        tab.order("mine")
        tab.says("run-process", "mine runs")
        tab.order("second")
        tab.says("run-answer", "refused: the run 'mine' is being trained")
        viewer = tab.open()
        assert viewer.is_disabled("#run-start") and viewer.is_disabled("#run-stop")
        viewer.close()
        tab.wait_points(1)
        tab.says("run-lines", "of 50 min of robot time")
        tab.says("run-details", "base model")

        tab.press("stop")
        tab.says("run-process", "mine was stopped; it can be resumed")
        before = tab.episodes()
        assert before >= 1 and not is_trained(tab.runs / "mine")
        tab.says("runs", "stopped")

        tab.press("resume")
        tab.says("run-process", "mine runs")
        tab.page.reload()  # shows the same tab again
        tab.wait_points(before + 1)
        tab.press("stop")
        tab.says("run-process", "mine was stopped; it can be resumed")
        assert [path.name for path in tab.runs.iterdir()] == ["mine"]
        assert browser.foreign == [], "a page must not ask anybody else"
        done = [json.loads(line) for line in tab.log.read_text(encoding="utf-8").splitlines()]
        commands = [entry["command"] for entry in done if "run" in entry["command"]]
        assert [commands.count(word) for word in ("start run 'mine'", "start run 'second'", "stop run")] == [1, 1, 2]


@pytest.mark.cores(2)  # nothing is driven by hand
def test_when_the_console_ends_expect_the_run_to_end_with_it_and_to_be_whole(world: World) -> None:
    with chromium() as browser:
        tab = LearnTab(world, browser)
        tab.order("mine")
        until(lambda: tab.episodes() >= 1, RUN_MS / 1000.0, "an episode of the run")
    world.procs[-1].term()
    until(lambda: not world.survivors(), 60.0, "console and run have ended")
    assert not is_trained(tab.runs / "mine")
    assert (tab.runs / "mine" / "curve.png").stat().st_size > 5000
    assert "the console ends" in tab.log.read_text(encoding="utf-8")


class BrowseTab:
    """The page for recordings, of a console without a robot."""

    def __init__(self, world: World, browser: Browser) -> None:
        self.folder, port = world.folder / "recordings", free_port()
        failed = {**METADATA, "steps": "8", "outcome": "failed"}
        decisions = [scored(1, [0.25], 0)]
        recording(self.folder / "a.mcap", range(8), metadata=failed, decisions=decisions, actors={0: 1, 1: 1})
        recording(self.folder / "b.mcap", range(5))
        (self.folder / "broken.mcap").write_bytes((self.folder / "b.mcap").read_bytes()[:900])
        self.log = world.folder / "console.jsonl"
        parameters = {
            "port": port, "command_log": str(self.log), "heartbeat_timeout_s": 10.0,
            "record_dir": str(self.folder), "dataset_dir": str(world.folder / "out"),
            "run_dir": str(world.folder / "runs"),
        }  # fmt: skip
        world.node("operator_console", "console_node", parameters=parameters)
        world.wait_ready("console_node")
        self.page = browser.page(f"http://127.0.0.1:{port}/")
        self.page.click("#tab-browse")

    def says(self, element: str, text: str) -> None:
        self.page.wait_for_function(
            "([id, text]) => document.getElementById(id).textContent.includes(text)", arg=[element, text],
            polling=POLLING_MS,
        )  # fmt: skip

    def press(self, button: str, *names: str) -> None:
        """Press a button with so many episodes ticked."""
        if not self.page.evaluate("document.body.classList.contains('in-control')"):
            self.page.click("#take")
        for name in names:
            self.page.click(f"#episodes tr:has-text('{name}') .q-checkbox")
        self.page.click(f"#browse-{button}:not([disabled])")

    def shows_picture(self, camera: str, number: int) -> None:
        """Until a camera shows the picture of a step, which its grey level tells."""
        self.page.wait_for_function(
            """([camera, level]) => {
                const image = document.querySelector(`img[data-recorded=${camera}]`);
                if (!image || !image.complete || !image.naturalWidth) return false;
                const canvas = document.createElement("canvas");
                canvas.width = canvas.height = 1;
                const context = canvas.getContext("2d");
                context.drawImage(image, 0, 0, 1, 1);
                return Math.abs(context.getImageData(0, 0, 1, 1).data[0] - level) <= 3;
            }""",
            arg=[camera, level_of(number)], polling=POLLING_MS,
        )  # fmt: skip


# Nothing here judges a reaction time.
@pytest.mark.cores(2)
def test_when_recordings_are_browsed_expect_every_step_and_another_outcome_a_deletion_undone_and_a_dataset(
    world: World,
) -> None:
    with chromium() as browser:
        tab = BrowseTab(world, browser)
        for words in ("a.mcap", "b.mcap", "cannot be read", "put the red cube on the blue plate"):
            tab.says("episodes", words)
        assert tab.page.is_disabled("#browse-delete"), "a page without control must be read-only"

        tab.page.click("#episodes td:text-is('a.mcap')")
        tab.says("episode-step", "step 1 of 8 · 0.00 s · policy · value 0.250")
        tab.shows_picture("front", 0)
        tab.page.focus("#episode-slider .q-slider__track-container")
        for number in range(2, 7):
            tab.page.keyboard.press("ArrowRight")
            tab.says("episode-step", f"step {number} of 8")
        tab.says("episode-step", "0.25 s · human")
        tab.shows_picture("front", 5)
        tab.shows_picture("wrist", 5)
        tab.page.click("#episodes td:text-is('broken.mcap')")
        tab.says("episode-title", "cannot be read")

        tab.press("relabel", "a.mcap")
        tab.says("browse-answer", "1 episode: succeeded")
        assert metadata(tab.folder / "a.mcap")["outcome"] == "succeeded"
        tab.page.fill("#browse-first", "2")
        tab.page.fill("#browse-last", "6")
        tab.press("trim", "a.mcap")
        tab.says("browse-answer", "1 episode: steps 2 to 6 count")
        tab.says("episodes", "2 to 6 of 8")
        tab.press("delete", "b.mcap")
        tab.says("browse-answer", "moved to")
        assert sorted(path.name for path in tab.folder.glob("*.mcap")) == ["a.mcap", "broken.mcap"]
        tab.page.click("#browse-deleted")
        tab.press("restore", ".deleted/b.mcap")
        tab.says("browse-answer", "1 episode restored")
        tab.page.wait_for_selector("#episodes td:text-is('b.mcap')")

        tab.page.fill("#browse-dataset", "mine")
        tab.press("export", "a.mcap", "b.mcap")
        tab.says("browse-process", "2 of 2 episodes")
        assert sorted(len(episode) for episode in Dataset(world.folder / "out" / "mine").labels()) == [5, 5]
        assert browser.foreign == [], "a page must not ask anybody else"
        done = [json.loads(line)["command"] for line in tab.log.read_text(encoding="utf-8").splitlines()]
        assert sum(command.startswith(("say", "delete", "restore", "export to 'mine'")) for command in done) == 4
