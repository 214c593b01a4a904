# SPDX-License-Identifier: Apache-2.0
"""A terminal: `python -m harness.terminal COMMAND...` runs a command in one. Killed, it is a window that was closed."""

from __future__ import annotations

import os
import pty
import sys


def main() -> None:
    """Run the command, and pass on what it says."""
    sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))


if __name__ == "__main__":
    main()
