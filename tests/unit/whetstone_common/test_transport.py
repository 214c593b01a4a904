# SPDX-License-Identifier: Apache-2.0
"""Which transport the middleware is told to use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.domains import DomainLock
from harness.sweep import SHARED_MEMORY
from whetstone_common.nodes.transport import PROFILES, RANGE, udp_alone

# What a participant in a process of its own has mapped.
_PARTICIPANT = """
import rclpy
rclpy.init()
node = rclpy.create_node("participant")
print(open("/proc/self/maps").read())
"""


@pytest.mark.parametrize("discovery", ["LOCALHOST", "SUBNET", ""])
def test_when_a_participant_joins_expect_no_shared_memory(discovery: str) -> None:
    lock = DomainLock()
    env = {key: value for key, value in os.environ.items() if key not in (RANGE, PROFILES)}
    env |= {"ROS_DOMAIN_ID": str(lock.domain_id)} | ({RANGE: discovery} if discovery else {})
    try:
        maps = subprocess.check_output([sys.executable, "-c", _PARTICIPANT], env=env | udp_alone(env), text=True)
    finally:
        lock.release()
    assert "libfastdds" in maps
    assert f"{SHARED_MEMORY}/fastdds_" not in maps


def test_when_only_this_machine_is_meant_expect_a_profile_that_looks_nowhere_else() -> None:
    added = udp_alone({RANGE: "LOCALHOST"})
    assert "127.0.0.1" in Path(added[PROFILES]).read_text(encoding="utf-8")
    assert added[RANGE] == "SYSTEM_DEFAULT"
    assert udp_alone(added) == {}


@pytest.mark.parametrize(
    "theirs",
    [{PROFILES: "/mine.xml"}, {"ROS_STATIC_PEERS": "10.0.0.2"}, {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}],
)
def test_when_the_user_has_chosen_expect_nothing_added(theirs: dict[str, str]) -> None:
    assert udp_alone({RANGE: "LOCALHOST"} | theirs) == {}
