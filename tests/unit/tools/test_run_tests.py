# SPDX-License-Identifier: Apache-2.0
"""A ring that takes too long is ended with everything that it has started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.until import until

_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_when_a_ring_runs_out_of_time_expect_its_grandchildren_ended_as_well(tmp_path: Path) -> None:
    import run_tests

    note = tmp_path / "pid"
    with pytest.raises(subprocess.TimeoutExpired):
        run_tests.run_group([sys.executable, "-c", _PARENT, str(note)], 3.0)
    pid = int(note.read_text(encoding="utf-8"))
    until(lambda: not is_running(pid), 5.0, "the grandchild is gone")


def test_when_a_command_ends_by_itself_expect_its_exit_code() -> None:
    import run_tests

    assert run_tests.run_group([sys.executable, "-c", f"raise SystemExit({os.EX_USAGE})"], 30.0) == os.EX_USAGE
