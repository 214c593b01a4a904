# SPDX-License-Identifier: Apache-2.0
"""The page of errors says what the commands and nodes say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from whetstone_cli.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "how-to" / "errors.md").read_text(encoding="utf-8")
COMMANDS, NODES = (
    [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines() if line.startswith("| ")][1:]
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
)
# A number, a name and a node stand for any other.
_EXAMPLES = re.compile(r"0\.503|0\.500|'wrist'|front|…|/panda_arm_controller/joint_trajectory|arm_node|\b0\b")


def quoted(cell: str) -> str:
    (text,) = re.findall(r"`([^`]+)`", cell)
    return text


def run(words: list[str]) -> tuple[int, str]:
    """Exit code and output of a command."""
    if words[0] != "up":
        result = CliRunner().invoke(app, words, env={"COLUMNS": "300"})
        return result.exit_code, f"{result.output}{result.exception}"
    # It becomes the launch runner, and so must not be this process.
    done = subprocess.run(
        [sys.executable, "-m", "whetstone_cli.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_when_the_page_is_read_expect_twenty_errors() -> None:
    assert len(COMMANDS) + len(NODES) == 20


@pytest.mark.parametrize("row", COMMANDS, ids=[row[0] for row in COMMANDS])
def test_when_a_command_of_the_page_is_run_expect_what_it_says_and_nothing_written(
    row: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("expo: {margen: 1}\n", encoding="utf-8")
    code, said = run(shlex.split(quoted(row[0]))[1:])
    assert code in (1, 2) and quoted(row[1]) in said + capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


@pytest.mark.parametrize("row", NODES, ids=[row[1] for row in NODES])
def test_when_a_node_refuses_expect_the_words_of_the_page_in_its_code(row: list[str]) -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "ros2_ws" / "src").glob("*/*/**/*.py"))
    for part in _EXAMPLES.split(quoted(row[1])):
        assert part.strip() in sources
