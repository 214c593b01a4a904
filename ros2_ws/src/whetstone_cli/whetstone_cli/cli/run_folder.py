# SPDX-License-Identifier: Apache-2.0
"""The folder of a training run: one process trains it at a time, and a start that came to nothing leaves nothing."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from whetstone_cli.cli.errors import UserError
from whetstone_common.core.run_session import LOCK_FILE, SESSION_FILE

# What a run consists of, without the output of its stacks, which says why it came to nothing.
_MADE = ("run.json", SESSION_FILE, "transitions", "checkpoints", "tensorboard", "version.json", "mcap")


class RunFolder:
    """Context manager that holds a run until it is left, or until the process ends however it ends."""

    def __init__(self, folder: Path) -> None:
        """Nothing is touched yet."""
        self.folder = folder
        self._handle = -1

    def __enter__(self) -> RunFolder:
        """Take the run; nothing but the lock is written.

        Raises:
            UserError: Another process trains it.
        """
        self._is_new_folder = not self.folder.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._before = {path.name for path in self.folder.iterdir()}
        self._lock()
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, text.encode(), 0)
        return self

    def _lock(self) -> None:
        path = self.folder / LOCK_FILE
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have removed the file in between: then the lock is nobody's, and the next one counts.
            if not path.exists() or not os.path.samestat(os.fstat(self._handle), path.stat()):
                os.close(self._handle)
                self._lock()
        except BlockingIOError as error:
            owner = _owner(os.pread(self._handle, 1000, 0))
            os.close(self._handle)
            raise UserError(
                f"the run {self.folder.name!r} is being trained by {owner}\n\n"
                "Wait for it, stop it, or choose another --run."
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go; a run that has not begun is as it was before."""
        if not has_begun(self.folder):
            self._undo()
        os.close(self._handle)

    def _undo(self) -> None:
        """Remove what this process and its stack have made."""
        for name in (*_MADE, LOCK_FILE):
            path = self.folder / name
            if name in self._before:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if self._is_new_folder:
            with suppress(OSError):
                self.folder.rmdir()


def has_begun(folder: Path) -> bool:
    """Whether a run has anything that another start must go on with."""
    log = folder / "episodes.jsonl"
    stored = [*(folder / "transitions").glob("segment-*"), *(folder / "checkpoints").glob("step-*")]
    return (log.is_file() and log.stat().st_size > 0) or any(path.is_dir() or path.stat().st_size for path in stored)


def _owner(text: bytes) -> str:
    try:
        said = json.loads(text)
        return f"process {said['pid']} on {said['host']} since {said['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
