# SPDX-License-Identifier: Apache-2.0
"""Child processes that do not outlive whoever started them."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> Callable[[], None]:
    """What a child runs before exec so that it is told to stop when its parent is gone, however that ended.

    For Linux the parent is the thread that starts the child: start it from one that lives as long as the process.
    """
    parent = os.getpid()

    def ask_for_signal() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # The parent may have ended before the kernel was asked.
        if os.getppid() != parent:
            os._exit(1)

    return ask_for_signal
