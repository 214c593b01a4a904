# SPDX-License-Identifier: Apache-2.0
"""Two simulated robots in one ROS domain, each in a namespace of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory
from vla_interfaces.msg import Executed, NodeProcess, NodeStatus

from harness.command_line import whetstone
from harness.until import until
from harness.watcher import LATCHED
from harness.world import World
from whetstone_common.core.reason import Reason

LAUNCH = Path(get_package_share_directory("robot_bringup")) / "launch"
SIDES = ("left", "right")


def reasons_of(world: World, side: str) -> Callable[[], str]:
    """A function that says the newest reason of a robot's arm."""
    heard = world.watcher.listen(NodeStatus, f"{side}/node_status", LATCHED)
    return lambda: next((Reason(msg.reason).name for _, msg in reversed(heard) if msg.node == f"/{side}/arm_node"), "")


def play(world: World, side: str, steps: int = 30) -> tuple[int, str]:
    """One short episode of a robot, by its own command line."""
    words = ["eval", "--attach", "--namespace", side, "--episodes", "1", "--seed", "6", "--max-steps", str(steps)]
    return whetstone(world, *words, "--json", f"{side}.json", "--log", f"{side}.log")


@pytest.fixture
def robots(world: World) -> World:
    """Both robots, started and at work."""
    for side in SIDES:
        world.launch(LAUNCH / "whetstone.launch.xml", namespace=side, backend="fake", pace="lockstep")
    return world


@pytest.mark.cores(4)
def test_when_two_robots_share_a_domain_expect_each_to_obey_its_own_command_line_and_one_button_to_stop_both(
    robots: World,
) -> None:
    with ThreadPoolExecutor() as pool:
        ends = list(pool.map(lambda side: play(robots, side), SIDES))
    for side, (code, text) in zip(SIDES, ends, strict=True):
        assert code == 0 and "0/1" in text, f"{side}: {text}"
    code, text = whetstone(robots, "status")
    assert code == 1 and "There are robots in /left, /right" in text

    left, right = (reasons_of(robots, side) for side in SIDES)
    assert whetstone(robots, "disarm", "--namespace", "left")[0] == 0
    until(lambda: left() == "DISARMED", 20.0, "left is disarmed")
    assert right() != "DISARMED"

    assert whetstone(robots, "estop", "--namespace", "right", "--topic", "estop")[0] == 0
    until(lambda: right() == "ESTOP", 20.0, "right has stopped")
    assert left() == "DISARMED"
    until(lambda: whetstone(robots, "reset", "--namespace", "right")[0] == 0, 30.0, "right is reset")

    assert whetstone(robots, "estop", "--namespace", "left")[0] == 0
    until(lambda: (left(), right()) == ("ESTOP", "ESTOP"), 20.0, "both have stopped")
    assert all(proc.alive for proc in robots.procs), "two robots in two namespaces are no namesakes"


@pytest.mark.cores(4)
def test_when_one_vla_node_serves_both_expect_each_its_episode_and_one_to_go_on_when_the_other_is_gone(
    world: World,
) -> None:
    processes = world.watcher.listen(NodeProcess, "left/sim_node/process", LATCHED)
    steps = {side: world.watcher.listen(Executed, f"{side}/executed") for side in SIDES}
    for side in SIDES:
        world.launch(LAUNCH / "whetstone.launch.xml", namespace=side, vla="false", pace="lockstep")
    served = world.launch(LAUNCH / "vla.launch.xml", robots=f"[{', '.join(SIDES)}]", backend="fake", pace="lockstep")
    with ThreadPoolExecutor() as pool:
        ends = list(pool.map(lambda side: play(world, side), SIDES))
        for side, (code, text) in zip(SIDES, ends, strict=True):
            assert code == 0 and "0/1" in text, f"{side}: {text}"

        had = {side: len(steps[side]) for side in SIDES}
        left, right = (pool.submit(play, world, side, 300) for side in SIDES)
        until(lambda: all(len(steps[side]) > had[side] + 20 for side in SIDES), 60.0, "both play")
        os.kill(processes[-1][1].pid, signal.SIGKILL)
        assert right.result()[0] == 0 and "0/1" in right.result()[1], right.result()[1]
        assert left.result()[0] != 0, left.result()[1]
    assert served.alive, "one robot less is no reason to end"
