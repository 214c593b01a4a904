# SPDX-License-Identifier: Apache-2.0
"""What an operator did wrong, or can put right: shown without a traceback."""

from __future__ import annotations

import subprocess

_REPORT = "This is a fault of Whetstone. Run the command again with --debug, and report what it shows."


class UserError(Exception):
    """One line on what is wrong and, after a blank line, what to do about it."""


def sentence_of(error: Exception) -> str:
    """What is shown of an error that ends a command: one line and, after a blank line, what to do about it."""
    if isinstance(error, UserError | subprocess.SubprocessError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return f"{type(error).__name__}: {str(error) or 'no message'}\n\n{_REPORT}"
