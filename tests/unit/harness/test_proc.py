# SPDX-License-Identifier: Apache-2.0
"""The helper that starts, wounds and buries processes, on trivial ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.priority import NICENESS
from harness.proc import Proc, carriers
from harness.until import stays, until

COUNTER = "import time,sys\nn = 0\nwhile True:\n    n += 1; print(n, flush=True); time.sleep(0.005)\n"
FAMILY = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\ntime.sleep(60)\n"
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Starts Python snippets and buries them."""
    started: list[Proc] = []

    def make(code: str) -> Proc:
        proc = Proc("snippet", [sys.executable, "-c", code], folder=tmp_path, env=dict(os.environ))
        started.append(proc)
        return proc

    yield make
    for proc in started:
        proc.bury()


def count(proc: Proc) -> int:
    """Lines written so far."""
    return proc.output.read_text().count("\n")


def test_when_killed_expect_signal_as_exit_code(start) -> None:
    proc = start(COUNTER)
    until(lambda: count(proc) > 3, 10.0)
    before_ns = time.monotonic_ns()
    assert proc.kill9() >= before_ns
    assert proc.exit_code == -signal.SIGKILL


def test_when_stopped_expect_no_progress_until_continued(start) -> None:
    proc = start(COUNTER)
    until(lambda: count(proc) > 3, 10.0)
    proc.stop()
    until(lambda: Path(f"/proc/{proc.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", 5.0)
    reached = count(proc)
    stays(lambda: count(proc) == reached, 0.1)
    proc.cont()
    until(lambda: count(proc) > reached, 10.0)


def test_when_terminated_expect_exit_code_of_signal(start) -> None:
    proc = start(COUNTER)
    until(lambda: count(proc) > 3, 10.0)
    proc.term()
    assert proc.wait_exit() == -signal.SIGTERM


def test_when_interrupted_expect_output_in_file(start) -> None:
    proc = start(COUNTER)
    until(lambda: count(proc) > 3, 10.0)
    proc.interrupt()
    assert proc.wait_exit() != 0
    assert "KeyboardInterrupt" in proc.tail()


def test_when_buried_expect_grandchildren_gone_too(start) -> None:
    proc = start(FAMILY)
    child = int(until(lambda: proc.tail().strip(), 10.0))
    assert set(proc.group_members()) == {proc.pid, child}
    proc.bury()
    assert proc.group_members() == []


def test_when_already_dead_expect_signals_to_be_harmless(start) -> None:
    proc = start("print('done')")
    assert proc.wait_exit() == 0
    proc.term()
    proc.bury()
    assert proc.tail() == "done\n"


def test_when_a_child_left_its_group_expect_its_environment_to_give_it_away(tmp_path: Path) -> None:
    mark = f"WORLD={tmp_path}/"
    code = "import os, time\nos.setsid() if os.fork() == 0 else None\nprint('up', flush=True)\ntime.sleep(60)"
    proc = Proc("family", [sys.executable, "-c", code], folder=tmp_path, env={**os.environ, "WORLD": f"{tmp_path}/x"})
    until(lambda: proc.tail().count("up") == 2, 10.0)
    members = carriers(mark)
    assert len(members) == 2
    proc.bury()
    (stray,) = carriers(mark)
    os.kill(stray, signal.SIGKILL)
    until(lambda: not carriers(mark), 5.0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a priority")
def test_when_the_test_goes_first_expect_its_processes_to_go_first_in_their_sessions(tmp_path: Path) -> None:
    # in a process of its own: this one must not go first in what follows
    code = (
        "import os, sys; from pathlib import Path\n"
        "from harness.priority import go_first; from harness.proc import Proc\n"
        "go_first(); folder = Path(sys.argv[1])\n"
        "proc = Proc('said', ['cat', '/proc/self/autogroup'], folder=folder, env=dict(os.environ))\n"
        "proc.wait_exit(10.0); print(os.getpriority(os.PRIO_PROCESS, 0), proc.output.read_text())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True, text=True, timeout=60.0, check=True, start_new_session=True,
    )  # fmt: skip
    said = done.stdout.split()
    assert int(said[0]) <= NICENESS
    if Path("/proc/self/autogroup").exists():
        assert int(said[-1]) == NICENESS
