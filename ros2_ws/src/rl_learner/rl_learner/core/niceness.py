# SPDX-License-Identifier: Apache-2.0
"""Lets everything that moves the arm go before a thread that learns."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")


def be_nice(niceness: int) -> None:
    """Lower the priority of the calling thread; and of its process, where that has a session of its own.

    Linux shares the CPU out among sessions first, and compares niceness within each (sched(7), "The autogroup
    feature"). A launched node leads a session: the niceness of its threads alone would yield to nobody else.

    Args:
        niceness: 0 for none to 19 for the most.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            _AUTOGROUP.write_text(str(niceness), encoding="ascii")
