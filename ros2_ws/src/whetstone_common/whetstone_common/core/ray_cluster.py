# SPDX-License-Identifier: Apache-2.0
"""Ray, which spreads work over machines: an optional dependency, imported only where an address is given."""

from __future__ import annotations

import importlib.util
import os
import socket
from typing import Any

AUTO, LOCAL = "auto", "local"
HELP = "Ray to use: auto, local (this machine alone), HOST:PORT"
_NOT_INSTALLED = (
    "Ray is not installed: `pip install --require-hashes --no-deps -r requirements/interop.lock` "
    "in every checkout that takes part (`make develop` does so too)"
)
_START = "start one with `ray start --head`, and `ray start --address=HOST:PORT` on each other machine"
_PROBE_S = 10.0
_LOCAL_STORE_BYTES = 100 * 2**20  # observations of some environments, not the third of the memory that Ray would take


def check_address(address: str) -> None:
    """What can be said of an address without Ray being started.

    Args:
        address: `auto`, `local` or HOST:PORT.

    Raises:
        ValueError: It is none of these.
        RuntimeError: Ray is not installed.
    """
    host, _, port = address.rpartition(":")
    if address not in (AUTO, LOCAL) and not (host and "/" not in host and port.isdigit()):
        raise ValueError(f"Ray's address is {address!r}, expected {AUTO}, {LOCAL} or HOST:PORT")
    if importlib.util.find_spec("ray") is None:
        raise RuntimeError(_NOT_INSTALLED)


def connect(address: str, cpus: int = 1) -> Any:
    """Ray's module, connected; `shutdown()` of it disconnects, and ends what this process has started in the cluster.

    Args:
        address: `auto`, `local` or HOST:PORT. `local` starts a Ray of this machine that ends with this process.
        cpus: That there have to be, free or not.

    Raises:
        ValueError: The address is none.
        RuntimeError: Ray is not installed, nothing answers there, or it is too small.
    """
    check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or it calls its makers
    import ray
    from ray.exceptions import RayError

    local: dict[str, Any] = {"num_cpus": cpus, "object_store_memory": _LOCAL_STORE_BYTES, "include_dashboard": False}
    _probe(address)
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", **(local if address == LOCAL else {}))
    except (OSError, RuntimeError, ValueError, RayError) as error:
        reason = str(error).strip().splitlines()
        raise RuntimeError(
            f"no Ray at {address!r} ({reason[0] if reason else type(error).__name__}); {_START}"
        ) from error
    if (there := cpus_of(ray)) < cpus:
        ray.shutdown()
        raise RuntimeError(f"Ray at {address!r} has {there} CPUs, {cpus} are wanted: ask for less, or add machines")
    return ray


def reason(error: Exception) -> str:
    """Why something is lost, in the words of Ray: its last line, without the guesses at causes that follow."""
    last = str(error).strip().splitlines()[-1]
    return last.partition(" Some common causes include")[0].strip()


def cpus_of(ray: Any) -> int:
    """CPUs of the cluster, free or not."""
    return int(ray.cluster_resources().get("CPU", 0))


def _probe(address: str) -> None:
    """Ray itself waits for minutes where nothing answers."""
    place = os.environ.get("RAY_ADDRESS", "") if address == AUTO else address
    host, _, port = place.rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), _PROBE_S).close()
    except (OSError, OverflowError) as error:
        raise RuntimeError(f"no Ray at {place!r} ({error}); {_START}") from error
