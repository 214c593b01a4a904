# SPDX-License-Identifier: Apache-2.0
"""Keys of a terminal as they are pressed, without waiting for any."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import tty

TERMINAL = "/dev/tty"


class Terminal:
    """The controlling terminal in character mode; it works although a launcher has taken the standard input.

    Raises:
        OSError: There is no terminal.
    """

    def __init__(self) -> None:
        self._fd = os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)

    def keys(self) -> str:
        """What was typed since the last call.

        Raises:
            OSError: The terminal has gone.
        """
        if not select.select([self._fd], [], [], 0.0)[0]:
            return ""
        try:
            typed = os.read(self._fd, 256)
        except BlockingIOError:
            return ""
        if not typed:
            raise OSError(f"{TERMINAL} was closed")
        return typed.decode("ascii", errors="ignore")

    def close(self) -> None:
        """Give the terminal back as it was, if it is still there."""
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        os.close(self._fd)
