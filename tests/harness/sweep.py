# SPDX-License-Identifier: Apache-2.0
"""Shared memory that killed DDS participants leave behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's fixed place
_PATTERN = re.compile(r"^(sem\.)?(fastrtps|fastdds)_")


def segments(folder: Path = SHARED_MEMORY) -> set[str]:
    """Names of all DDS shared-memory files."""
    return {path.name for path in folder.iterdir() if _PATTERN.match(path.name)} if folder.is_dir() else set()


def in_use(proc: Path = Path("/proc")) -> set[str]:
    """Names of DDS shared-memory files that a living process has mapped or open.

    Lock files (`..._el`) are only ever open: taking them for orphans would cut off every other stack on the machine.
    """
    names: set[str] = set()
    for link in proc.glob("[0-9]*/fd/*"):
        try:
            target = link.readlink()
        except OSError:
            continue
        if target.parent == SHARED_MEMORY:
            names.add(target.name)
    for maps in proc.glob("[0-9]*/maps"):
        try:
            text = maps.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        names |= {Path(line.split()[-1]).name for line in text.splitlines() if "/dev/shm/" in line}  # noqa: S108
    return names


def sweep(before: Iterable[str], folder: Path = SHARED_MEMORY, proc: Path = Path("/proc")) -> set[str]:
    """Remove files that are new since `before` and that nobody has mapped or open.

    Args:
        before: What `segments` returned before the test.

    Returns:
        Names of the removed files.
    """
    orphans = segments(folder) - set(before) - in_use(proc)
    for name in orphans:
        (folder / name).unlink(missing_ok=True)
    return orphans
