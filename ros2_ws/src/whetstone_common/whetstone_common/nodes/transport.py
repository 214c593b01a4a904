# SPDX-License-Identifier: Apache-2.0
"""Participants of Fast DDS talk over UDP alone (ADR 21)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

RANGE, PROFILES = "ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_DEFAULT_PROFILES_FILE"


def udp_alone(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to the environment of a process before it joins the graph.

    Shared memory is left out: a process that is killed while it holds the lock of a port stops every process that sends
    to that port, for ever. With the range LOCALHOST rmw_fastrtps adds shared memory to every profile, so that range
    becomes a profile of its own, which looks for others on this machine only.

    Returns:
        Nothing where the user has a profile, static peers, or another middleware.
    """
    other = environment.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
    if environment.get(PROFILES) or environment.get("ROS_STATIC_PEERS") or "fastrtps" not in other:
        return {}
    config = Path(get_package_share_directory("whetstone_common")) / "config"
    if environment.get(RANGE) == "LOCALHOST":
        return {RANGE: "SYSTEM_DEFAULT", PROFILES: str(config / "fastdds_localhost.xml")}
    return {PROFILES: str(config / "fastdds_subnet.xml")}
