# SPDX-License-Identifier: Apache-2.0
"""Tools that make prior data never remove what they did not make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[3] / "tools" / "rl" / "demonstrations.py"


@pytest.mark.parametrize("origin", [None, '{"weights_sha256": "0000"}'])
def test_when_the_folder_holds_what_is_not_the_tools_expect_refusal_and_everything_as_it_was(
    tmp_path: Path, origin: str | None
) -> None:
    (tmp_path / "holiday.jpg").write_text("mine")
    if origin is not None:
        (tmp_path / "prior.json").write_text(origin)
    command = [sys.executable, str(TOOL), "--out", str(tmp_path), "--episodes", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "is not what this tool has made" in done.stderr
    assert (tmp_path / "holiday.jpg").read_text() == "mine"
