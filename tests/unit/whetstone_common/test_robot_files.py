# SPDX-License-Identifier: Apache-2.0
"""One way of finding robot files, whoever asks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.arm_world import PACKAGE
from robot_bringup.launch_runner import preflight
from robot_bringup.launch_runner.document import LaunchError
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.options import robot_of
from whetstone_cli.cli.stack import share
from whetstone_common.core.reason import ReasonedError
from whetstone_common.core.robot import RobotError
from whetstone_common.nodes.robot_files import find_robot, robot_of_parameter, urdf_of

WAYS = ["./mine.yaml", "mine.yaml", "~/mine.yaml", "{}/mine.yaml", "sim_panda"]
WAYS += ["package://robot_bringup/config/robots/sim_panda.yaml"]


def launched(name: str) -> None:
    """What the launch runner reads before it starts a node."""
    preflight.check_file(share() / "launch" / "whetstone.launch.xml", {"robot": name, "backend": "fake"})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory and home, with a robot file in it."""
    shutil.copy(PACKAGE / "config" / "robots" / "sim_panda.yaml", tmp_path / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("read", [find_robot, robot_of_parameter, robot_of])
def test_when_a_robot_is_named_in_any_way_expect_every_reader_to_find_it(
    read: Callable, name: str, folder: Path
) -> None:
    robot = read(name.format(folder))
    assert robot.name == "sim_panda" and urdf_of(robot).is_file()
    assert robot.joint_layout.names == robot.contract_joints


@pytest.mark.parametrize("name", WAYS)
def test_when_a_robot_is_named_in_any_way_expect_the_launch_runner_to_find_it(name: str, folder: Path) -> None:
    launched(name.format(folder))


@pytest.mark.parametrize(
    ("read", "error"),
    [(find_robot, RobotError), (robot_of_parameter, ReasonedError), (robot_of, UserError), (launched, LaunchError)],
)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("roomba", "no robot 'roomba'; there are franka_fr3, sim_panda, so101, ur5e"),
        ("./none.yaml", r"robot file .*none\.yaml"),
        ("package://nope/mine.yaml", "package 'nope' is not installed"),
        ("./no_urdf.yaml", "urdf 'none.urdf' is neither beside it nor among the shipped ones"),
        ("./no_limits.yaml", r"no_limits\.yaml.*limits"),
    ],
)
def test_when_there_is_no_such_robot_expect_every_reader_to_say_the_same(
    read: Callable, error: type[Exception], name: str, words: str, folder: Path
) -> None:
    text = (folder / "mine.yaml").read_text(encoding="utf-8")
    (folder / "no_urdf.yaml").write_text(text.replace("panda.urdf", "none.urdf"), encoding="utf-8")
    (folder / "no_limits.yaml").write_text(text.replace("limits:", "bounds:"), encoding="utf-8")
    with pytest.raises(error, match=words):
        read(name)
