# SPDX-License-Identifier: Apache-2.0
"""A ROS domain of our own, so that two stacks on one machine do not meet."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from pathlib import Path

from whetstone_cli.cli.errors import UserError

# Above 100 the ports of a domain reach into the ephemeral range of Linux; 0 to 9 are left to people.
_DOMAINS = range(10, 101)
_PORT_BASE, _PORTS_PER_DOMAIN = 7400, 250


def used_udp_ports(table: str) -> set[int]:
    """Local ports in the text of /proc/net/udp."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {int(row[1].rsplit(":", 1)[1], 16) for row in rows if len(row) > 1}


def is_free(domain_id: int, ports: set[int]) -> bool:
    """Whether no participant of this machine uses the domain."""
    start = _PORT_BASE + _PORTS_PER_DOMAIN * domain_id
    return ports.isdisjoint(range(start, start + _PORTS_PER_DOMAIN))


class DomainLock:
    """Holds a domain id until `release`, or until the process ends however it ends."""

    def __init__(self) -> None:
        """Take a free id.

        Raises:
            UserError: None is free.
        """
        folder = Path(tempfile.gettempdir()) / "whetstone_ros_domains"
        folder.mkdir(parents=True, exist_ok=True)
        ports = used_udp_ports(Path("/proc/net/udp").read_text(encoding="ascii"))
        for domain_id in random.SystemRandom().sample(_DOMAINS, len(_DOMAINS)):
            if is_free(domain_id, ports) and self._take(folder / f"{domain_id}.lock"):
                self.domain_id = domain_id
                return
        raise UserError("every ROS domain from 10 to 100 is in use\n\nStop other stacks, or use --attach.")

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
