# SPDX-License-Identifier: Apache-2.0
"""Runs a page of docs/tutorials from its own text.

Fenced blocks with a file name as title are written, `bash` blocks are run one after the other, those with the title
"terminal N" go on in the background until the page says "End terminal N with Ctrl-C" or ends, `console` blocks are only
shown.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.domains import DomainLock

PAGES = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
_BLOCK = re.compile(
    r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$|^End (?P<ended>terminal \d+) with Ctrl-C',
    re.MULTILINE | re.DOTALL,
)
_END_S = 60.0


@dataclass(frozen=True)
class Block:
    """A fenced block: language, title (empty for none) and text; the end of a terminal has the language `end`."""

    kind: str
    title: str
    text: str


def blocks_of(page: str, changes: Mapping[str, str]) -> list[Block]:
    """Blocks of a page, with what a test does shorter.

    Args:
        page: File name in docs/tutorials.
        changes: Text of a command by the text of the page that it takes the place of.

    Raises:
        AssertionError: The page does not say what is changed.
    """
    text = (PAGES / page).read_text(encoding="utf-8")
    for said, instead in changes.items():
        assert said in text, f"{page} no longer says {said!r}"
        text = text.replace(said, instead)
    return [
        Block("end", match["ended"], "")
        if match["ended"]
        else Block(match["kind"], match["title"] or "", match["text"])
        for match in _BLOCK.finditer(text)
    ]


@dataclass
class Tutorial:
    """A reader who does what the page says, in a folder and a ROS domain of their own."""

    folder: Path
    limit_s: float = 800.0  # of one block; a machine that does much else takes ten times as long as an idle one
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take a domain."""
        self._lock = DomainLock()
        self._terminals: dict[str, subprocess.Popen[bytes]] = {}
        self.env = {
            **os.environ,
            "ROS_DOMAIN_ID": str(self._lock.domain_id),
            "OMP_NUM_THREADS": "1",
            **self.env,
        }

    def follow(self, page: str, changes: Mapping[str, str]) -> str:
        """Do everything that the page says; what the commands printed."""
        said = []
        for block in blocks_of(page, changes):
            if block.kind == "end":
                self._close_terminal(block.title)
            elif block.kind == "bash" and block.title:
                self.open_terminal(block.title, block.text)
            elif block.kind == "bash":
                said.append(self.run(block.text))
            elif block.title:
                (self.folder / block.title).write_text(block.text, encoding="utf-8")
        return "\n".join(said)

    def run(self, commands: str) -> str:
        """Run commands to their end; what they printed."""
        process = self._start(commands, subprocess.PIPE)
        try:
            printed, _ = process.communicate(timeout=self.limit_s)
        finally:
            _kill(process)
        text = printed.decode(errors="replace")
        assert process.returncode == 0, f"{commands}\nends with {process.returncode}:\n{text}\n{self._logs()}"
        return text

    def open_terminal(self, title: str, commands: str, env: Mapping[str, str] | None = None) -> None:
        """Leave commands running."""
        with (self.folder / f"{title}.log").open("ab") as log:
            self._terminals[title] = self._start(commands, log, env)

    def close(self) -> None:
        """Ctrl-C in every terminal; nothing is left."""
        for title in list(self._terminals):
            self._close_terminal(title)
        self._lock.release()

    def _close_terminal(self, title: str) -> None:
        process = self._terminals.pop(title, None)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(_END_S)
        finally:
            _kill(process)

    def _start(self, commands: str, sink: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _logs(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in self.folder.rglob("*.log"))


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
