# SPDX-License-Identifier: Apache-2.0
"""Numbers on the command lines of the batch jobs."""

from __future__ import annotations

import argparse
import os


def count(text: str) -> int:
    """A whole number of 1 or more.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: a whole number of 1 or more is")
    return value


def default_threads() -> int:
    """Threads of a training: `OMP_NUM_THREADS` where the environment has it, else every core this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else len(os.sched_getaffinity(0))
