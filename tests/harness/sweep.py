# SPDX-License-Identifier: Apache-2.0
"""Shared memory that killed DDS participants leave behind."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's fixed place
_SEGMENT = re.compile(r"^(fastrtps|fastdds)_(?!port)")
_PORT = re.compile(r"^(?:sem\.)?(?:fastrtps|fastdds)_port(\d+)(?:_el|_mutex)?$")


def segments(folder: Path = SHARED_MEMORY, ports: Container[int] = ()) -> set[str]:
    """Names of DDS shared-memory files: data segments, and the queues of some ports with their locks.

    Some ports (from 7000) are shared by all domains. Their semaphores look unused while they are used, since glibc maps
    a semaphore under another name: whoever removes one takes the lock away from every stack on the machine.
    """
    return {path.name for path in folder.iterdir() if _ours(path.name, ports)} if folder.is_dir() else set()


def _ours(name: str, ports: Container[int]) -> bool:
    port = _PORT.match(name)
    return int(port[1]) in ports if port else _SEGMENT.match(name) is not None


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


def sweep(
    before: Iterable[str], ports: Container[int], folder: Path = SHARED_MEMORY, proc: Path = Path("/proc")
) -> set[str]:
    """Remove files that are new since `before` and that nobody has mapped or open.

    Args:
        before: What `segments` returned before the test.
        ports: Those of the test's domain, which nobody is in any more.

    Returns:
        Names of the removed files.
    """
    orphans = segments(folder, ports) - set(before) - in_use(proc)
    for name in orphans:
        (folder / name).unlink(missing_ok=True)
    return orphans
