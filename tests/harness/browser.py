# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium of a test's own, which can be killed."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Before NiceGUI's handshake the page may load itself anew, and forget what was clicked.
CONNECTED = "window.did_handshake && document.getElementById('control-line')?.textContent.includes('answer in')"
# A machine that renders a simulator in software besides may take its time.
DEADLINE_MS = 90_000
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


def free_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Browser:
    """A running Chromium.

    Attributes:
        foreign: Addresses outside this machine that a page has asked for; there must be none.
    """

    def __init__(self, playwright: Any) -> None:
        """Start it."""
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        self._browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        self._processes = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
        self.foreign: list[str] = []

    def blank(self, script: str = "") -> Any:
        """A page that has not been anywhere; it takes certificates that nobody has signed.

        Args:
            script: Runs in the page before any of its own.
        """
        page = self._browser.new_page(viewport={"width": 1400, "height": 1000}, ignore_https_errors=True)
        page.set_default_timeout(DEADLINE_MS)
        page.on("request", self._watch)
        page.add_init_script(script)
        return page

    def page(self, url: str, script: str = "") -> Any:
        """Open a page and wait until it is connected; `script` as in `blank`."""
        page = self.blank(script)
        page.goto(url)
        page.wait_for_function(CONNECTED)
        return page

    def _watch(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "https://127.0.0.1:", "blob:", "data:")):
            self.foreign.append(request.url)

    def kill(self) -> None:
        """SIGKILL to every process of it, as when the machine of the operator dies."""
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def close(self) -> None:
        """End it, whatever state it is in."""
        self.kill()
        with contextlib.suppress(Exception):  # it is gone already, which is what is wanted
            self._browser.close()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for the time of a test; skips the test where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = Browser(playwright)
        try:
            yield browser
        finally:
            browser.close()
