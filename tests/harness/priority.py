# SPDX-License-Identifier: Apache-2.0
"""Processes of a test go before whatever else computes on the machine, where the system allows it."""

from __future__ import annotations

import contextlib
import os

NICENESS = -5


def go_first() -> None:
    """Raise the priority of this process, and of all that it starts in its own session.

    Linux gives each session the same share of the cores (sched_autogroup): niceness counts within one only, and the
    session has a niceness of its own. A process in a new session has to call this again.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    # kernel calls only: this runs between fork and exec too
    with contextlib.suppress(OSError):
        handle = os.open("/proc/self/autogroup", os.O_WRONLY)
        try:
            os.write(handle, b"%d" % NICENESS)
        finally:
            os.close(handle)
