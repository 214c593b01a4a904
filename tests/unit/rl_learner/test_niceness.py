# SPDX-License-Identifier: Apache-2.0
"""A learner yields to the other nodes, each of which has a session of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/autogroup").is_file(), reason="this kernel does not share the CPU out among sessions"
)

_BE_NICE = """
import os, pathlib
from rl_learner.core.niceness import be_nice
be_nice(5)
print(os.getpriority(os.PRIO_PROCESS, 0), pathlib.Path("/proc/self/autogroup").read_text().split()[-1])
"""


def nice_in(*, own_session: bool) -> tuple[int, int]:
    """Niceness of thread and session that a process has given itself."""
    command = [sys.executable, "-c", _BE_NICE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=own_session)  # noqa: S603
    thread, session = map(int, done.stdout.split())
    return thread, session


def test_when_the_process_leads_a_session_expect_the_whole_session_to_yield() -> None:
    assert nice_in(own_session=True) == (5, 5)


def test_when_others_are_in_the_session_expect_them_left_as_they_are() -> None:
    before = int(Path("/proc/self/autogroup").read_text().split()[-1])
    assert nice_in(own_session=False) == (5, before)
