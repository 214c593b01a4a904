# SPDX-License-Identifier: Apache-2.0
"""The operator at the terminal marks episodes of a real arm: one key per mark."""

from __future__ import annotations

import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from select import select

from robot_operation.core.marks import MARK_KEYS
from whetstone_cli.cli.client import Client
from whetstone_cli.cli.screen import console

_POLL_S = 0.1


@contextmanager
def marks_from_keyboard(client: Client) -> Iterator[None]:
    """Read keys while episodes run; without a terminal only the topic `mark` counts."""
    if not sys.stdin.isatty():
        yield
        return
    console.print("keys: " + ", ".join(f"[bold]{key}[/] {mark.value}" for key, mark in MARK_KEYS.items()), markup=True)
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    over = threading.Event()
    reader = threading.Thread(target=_read, args=(client, over), daemon=True)
    tty.setcbreak(handle)
    reader.start()
    try:
        yield
    finally:
        over.set()
        reader.join()
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _read(client: Client, over: threading.Event) -> None:
    while not over.is_set():
        if select([sys.stdin], [], [], _POLL_S)[0] and (mark := MARK_KEYS.get(sys.stdin.read(1).lower())):
            client.mark(mark)
