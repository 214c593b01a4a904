# SPDX-License-Identifier: Apache-2.0
"""A disk so small that it can be filled: tmpfs, where this process may mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class TinyDisk:
    """A mounted folder.

    Attributes:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is mounted yet."""
        self.folder = folder

    def mount(self, size_kb: int) -> bool:
        """Mount it; whether that was allowed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return _mount("-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(self.folder)) == 0

    def grow(self, size_kb: int) -> None:
        """Give it more space, as somebody does who deletes what is not needed."""
        assert _mount("-o", f"remount,size={size_kb}k", str(self.folder)) == 0

    def close(self) -> None:
        """Unmount it; whoever still has a file open keeps that."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)  # noqa: S607


def _mount(*words: str) -> int:
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode  # noqa: S603, S607


@contextmanager
def tiny_disk(folder: Path, size_kb: int) -> Iterator[TinyDisk]:
    """A disk of so many kB; the test is skipped where nothing may be mounted."""
    disk = TinyDisk(folder)
    if not disk.mount(size_kb):
        pytest.skip("mounting a tmpfs needs the rights of root")
    try:
        yield disk
    finally:
        disk.close()
