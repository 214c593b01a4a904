# SPDX-License-Identifier: Apache-2.0
"""A run's process: its last lines, how it ends, and that it does not outlive its owner."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from harness.until import until
from operator_console.core.run_process import RunProcess

_WAITS = """
import time
print("begins", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("stored")
    raise
"""
_OWNER = f"""
import sys, time
from operator_console.core.run_process import RunProcess
process = RunProcess("mine", [sys.executable, "-c", {_WAITS!r}])
print(process._process.pid, flush=True)
time.sleep(60)
"""


def test_when_it_is_interrupted_expect_its_last_words_and_that_it_can_be_resumed() -> None:
    process = RunProcess("mine", [sys.executable, "-c", _WAITS])
    until(lambda: process.last_lines() == ("begins",), 20.0, "it has begun")
    process.interrupt()
    until(lambda: not process.is_running, 20.0, "it has ended")
    assert "stored" in process.last_lines()
    assert "resumed" in process.state


def test_when_its_owner_ignores_interrupts_expect_that_it_can_be_interrupted_all_the_same() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = RunProcess("mine", [sys.executable, "-c", _WAITS])
    finally:
        signal.signal(signal.SIGINT, before)
    until(lambda: process.last_lines() == ("begins",), 20.0, "it has begun")
    process.interrupt()
    until(lambda: not process.is_running, 20.0, "it has ended")


def test_when_it_fails_expect_its_exit_code_and_what_it_said() -> None:
    process = RunProcess("mine", [sys.executable, "-c", "print('no such task')\nraise SystemExit(3)"])
    until(lambda: not process.is_running, 20.0, "it has ended")
    assert "exit code 3" in process.state and process.last_lines() == ("no such task",)


def test_when_its_owner_is_killed_expect_it_to_end_too(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE)  # noqa: S603 - our own
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    until(lambda: not psutil.pid_exists(pid), 20.0, "the run has ended")
