# SPDX-License-Identifier: Apache-2.0
"""A ROS_DOMAIN_ID that no other test on this machine uses, by file lock."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from whetstone_common.nodes.transport import RANGE, udp_alone

# Above 100 the ports of a domain reach into the ephemeral range of Linux; 0 to 9 are left to people.
_FIRST, _LAST = 10, 100
_PORT_BASE, _PORTS_PER_DOMAIN = 7400, 250


def stay_on_this_machine(environment: MutableMapping[str, str]) -> None:
    """Discovery must not leave the machine, and a killed process must not stop others: as the product has it."""
    environment.setdefault(RANGE, "LOCALHOST")
    environment.update(udp_alone(environment))


class NoDomainLeftError(RuntimeError):
    """All domain ids are taken."""


def ports_of(domain_id: int) -> range:
    """UDP ports that participants of a domain may use."""
    start = _PORT_BASE + _PORTS_PER_DOMAIN * domain_id
    return range(start, start + _PORTS_PER_DOMAIN)


def used_udp_ports(table: str) -> set[int]:
    """Local ports in the text of /proc/net/udp."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {int(row[1].rsplit(":", 1)[1], 16) for row in rows if len(row) > 1}


class DomainLock:
    """Holds one domain id until `release`, or until the process ends however it ends."""

    def __init__(self, folder: Path | None = None) -> None:
        """Take the first free id, starting at one that differs between processes.

        Raises:
            NoDomainLeftError: None is free.
        """
        folder = folder or Path(tempfile.gettempdir()) / "whetstone_ros_domains"
        folder.mkdir(parents=True, exist_ok=True)
        count = _LAST - _FIRST + 1
        busy = used_udp_ports(Path("/proc/net/udp").read_text(encoding="ascii"))
        for offset in range(count):
            domain_id = _FIRST + (os.getpid() + offset) % count
            if busy.isdisjoint(ports_of(domain_id)) and self._take(folder / f"{domain_id}.lock"):
                self.domain_id = domain_id
                return
        raise NoDomainLeftError(f"ids {_FIRST} to {_LAST} are all in use")

    def _take(self, path: Path) -> bool:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def release(self) -> None:
        """Give the id back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
