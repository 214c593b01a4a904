# SPDX-License-Identifier: Apache-2.0
"""The controllers of ros2_control over mock hardware, as docs/how-to/mock-hardware.md sets them up."""

from __future__ import annotations

import contextlib
import os
import textwrap
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from std_msgs.msg import String

from harness.proc import Proc
from harness.tutorial import blocks_of
from harness.watcher import LATCHED
from harness.world import World

PAGE = "../how-to/mock-hardware.md"
PACKAGES = (
    "controller_manager",
    "forward_command_controller",
    "hardware_interface",
    "joint_state_broadcaster",
    "joint_trajectory_controller",
)
CONTROLLERS = ("joint_state_broadcaster", "fr3_arm_controller", "gripper_controller")
_PRIORITY = 40
_DESCRIBED_S = 40.0
_SPAWNED_S = 60.0


def missing_packages() -> list[str]:
    """What of ros2_control this machine lacks."""
    return [name for name in PACKAGES if not _has(name)]


def _has(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def start_controllers(world: World, joints: list[str]) -> None:
    """Start the controller manager and the page's controllers; they are active when this returns.

    Args:
        world: Where they live.
        joints: Of the arm's controller, in an order of its own.
    """
    page = {block.title: textwrap.dedent(block.text) for block in blocks_of(PAGE, {}) if block.title}
    settings = yaml.safe_load(page["controllers.yaml"])
    settings["fr3_arm_controller"]["ros__parameters"]["joints"] = joints
    file = world.folder / "controllers.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    manager = _run(world, "ros2_control_node", "--ros-args", "--params-file", str(file))
    # As the fakes: drives do not wait for a free core, and neither does the thread that publishes their joint states.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(manager.pid, os.SCHED_RR, os.sched_param(_PRIORITY))
    world.watcher.say(
        String(data=_description(page["mock.xml"])), "robot_description", LATCHED, deadline_s=_DESCRIBED_S
    )
    spawner = _run(world, "spawner", *CONTROLLERS, "--param-file", str(file))
    assert spawner.wait_exit(_SPAWNED_S) == 0, world.tails()


def _description(mock: str) -> str:
    shipped = Path(get_package_share_directory("robot_bringup")) / "description" / "fr3.urdf"
    return shipped.read_text(encoding="utf-8").replace("</robot>", f"{mock}</robot>")


def _run(world: World, executable: str, *arguments: str) -> Proc:
    command = Path(get_package_prefix("controller_manager")) / "lib" / "controller_manager" / executable
    proc = Proc(executable, [str(command), *arguments], folder=world.folder, env=world.env)
    world.procs.append(proc)
    return proc
