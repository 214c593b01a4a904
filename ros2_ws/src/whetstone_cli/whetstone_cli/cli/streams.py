# SPDX-License-Identifier: Apache-2.0
"""Standard output that never fails: a terminal that is gone, or knows few letters, must not end a command half way."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO


class LenientStream:
    """A text stream that is replaced by /dev/null as soon as it cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        """Wrap a stream; letters that its encoding lacks become question marks."""
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        """Write; returns the number of letters."""
        try:
            self._stream.write(text)
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Flush."""
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        # What the stream still holds goes there too, when the interpreter flushes it at its end.
        with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self._stream, name)


def forgive_output() -> None:
    """Put lenient streams in place of standard output and error; a closed one becomes /dev/null."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open to the end
        setattr(sys, name, LenientStream(stream))
