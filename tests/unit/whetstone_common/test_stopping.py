# SPDX-License-Identifier: Apache-2.0
"""Real processes that are asked to end while they import, read, compute or hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.until import until

DEADLINE_S = 30.0
# A machine that does much else.
LIMIT_S = 4.0
# Computes for hours without coming back to the interpreter, as the export of a model may for seconds.
DEAF = "hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2**31 - 1)"
HEAD = """
import hashlib, os, pathlib, sys, threading, time
from whetstone_common.nodes.stopping import StopRequestedError, catch_signals, leave
stop = catch_signals()
print("hears", flush=True)
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process that hears, and returns when it does."""
    made: list[subprocess.Popen[str]] = []

    def go(body: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HEAD + body], cwd=tmp_path, env=os.environ | environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        made.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "hears\n"
        return process

    yield go
    for process in made:
        process.kill()
        process.communicate()


def cpu_s(pid: int) -> float:
    """CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("doing", ["time.sleep(99)", DEAF, "while True: pass"])
def test_when_asked_to_end_before_there_is_a_node_expect_the_end_and_exit_0(
    start: Start, doing: str, number: signal.Signals
) -> None:
    process = start(doing)
    process.send_signal(number)
    assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize("doing", ["time.sleep(99)", DEAF, "while True: pass"])
def test_when_asked_to_end_in_a_set_up_expect_the_end_and_exit_0(start: Start, doing: str) -> None:
    process = start(
        f"stop.before_end(lambda: None)\nwith stop.setting_up():\n    print('in it', flush=True)\n    {doing}"
    )
    assert process.stdout is not None and process.stdout.readline() == "in it\n"
    if doing == DEAF:
        # Only in the middle of it no handler runs: a moment earlier the set-up is left as in the other cases.
        before_s = cpu_s(process.pid)
        until(lambda: cpu_s(process.pid) > before_s + 0.1, LIMIT_S, "it computes")
    process.send_signal(signal.SIGTERM)
    code = process.wait(LIMIT_S)
    assert code == 0 or (doing != DEAF and "StopRequestedError" in process.stderr.read())  # type: ignore[union-attr]


def test_when_the_set_up_can_be_left_expect_it_left_at_once_and_its_files_removed(start: Start, tmp_path: Path) -> None:
    process = start(
        "import tempfile\n"
        "stop.before_end(lambda: pathlib.Path('closed').touch())\n"
        "try:\n"
        "    with stop.setting_up(), tempfile.TemporaryDirectory(dir='.') as made:\n"
        "        print(made, flush=True)\n"
        "        time.sleep(99)\n"
        "except StopRequestedError:\n"
        "    stop.close()\n"
        "leave(0)\n"
    )
    assert process.stdout is not None
    made = tmp_path / process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == 0
    assert (tmp_path / "closed").exists() and not made.exists()


def test_when_the_main_thread_hangs_in_a_callback_expect_the_node_closed_once_by_another(
    start: Start, tmp_path: Path
) -> None:
    process = start(
        "stop.before_end(lambda: print('closed', threading.current_thread().name, flush=True))\n"
        f"print('works', flush=True)\n{DEAF}"
    )
    assert process.stdout is not None and process.stdout.readline() == "works\n"
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0
    assert process.stdout.read() == "closed close\n"


def test_when_closing_hangs_expect_the_end_all_the_same_and_another_exit_code(start: Start) -> None:
    process = start("stop.before_end(lambda: time.sleep(99))\nprint('works', flush=True)\nstop.close()")
    assert process.stdout is not None and process.stdout.readline() == "works\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 1
    assert "not closed 1.8 s after" in process.stderr.read()  # type: ignore[union-attr]


@pytest.mark.parametrize("is_watched", [True, False])
def test_when_the_parent_is_killed_expect_the_end_where_a_launch_asked_for_it(tmp_path: Path, is_watched: bool) -> None:
    child = f"{HEAD}pathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(99)"
    (tmp_path / "child.py").write_text(child)
    environment = os.environ | ({"WHETSTONE_END_WITH_PARENT": "1"} if is_watched else {})
    shell = subprocess.Popen(["/bin/sh", "-c", f"{sys.executable} child.py; true"], cwd=tmp_path, env=environment)
    end_s = time.monotonic() + DEADLINE_S
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < end_s
        time.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    shell.kill()
    shell.wait()
    end_s = time.monotonic() + (LIMIT_S if is_watched else 1.0)
    while not is_gone(pid) and time.monotonic() < end_s:
        time.sleep(0.01)
    assert is_gone(pid) is is_watched
    if not is_watched:
        os.kill(pid, signal.SIGKILL)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; nobody may have reaped it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
