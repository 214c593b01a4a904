# SPDX-License-Identifier: Apache-2.0
"""Robot files: complete or refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from fakes.arm_world import PACKAGE, contract_for, kinematics_of
from robot_bringup.core.safety import box_excess_m
from whetstone_common.core.robot import GripperOutput, Output, RobotError, load_robot, parse_robot

FILES = sorted((PACKAGE / "config" / "robots").glob("*.yaml"))
RAW = yaml.safe_load((PACKAGE / "config" / "robots" / "sim_panda.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_when_a_shipped_robot_is_loaded_expect_it_whole_and_its_home_inside_the_workspace(path):
    robot = load_robot(path)
    assert robot.name == path.stem
    kinematics = kinematics_of(robot)
    home = kinematics.fk(robot.home)
    assert box_excess_m(home.position, robot.limits) == 0.0
    assert (robot.limits.lower >= kinematics.lower - 1e-9).all()
    assert (robot.limits.upper <= kinematics.upper + 1e-9).all()
    assert not robot.contract_problems(contract_for(robot))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_when_the_joints_are_anywhere_expect_the_tcp_within_reach_of_every_axis(path):
    robot = load_robot(path)
    kinematics = kinematics_of(robot)
    rng = np.random.default_rng(0)
    for _ in range(50):
        q = rng.uniform(robot.limits.lower, robot.limits.upper)
        assert np.linalg.norm(kinematics.jacobian(q)[:3], axis=0).max() <= robot.limits.reach_m


@pytest.mark.parametrize("key", sorted(RAW["limits"]))
def test_when_a_limit_is_missing_expect_refusal_by_name(key):
    raw = copy.deepcopy(RAW)
    del raw["limits"][key]
    with pytest.raises(RobotError, match=key):
        parse_robot(raw)


@pytest.mark.parametrize("key", sorted(RAW["limits"]))
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "1", None, True])
def test_when_a_limit_is_no_finite_number_expect_refusal(key, bad):
    raw = copy.deepcopy(RAW)
    value = raw["limits"][key]
    raw["limits"][key] = [bad, *value[1:]] if isinstance(value, list) else bad
    with pytest.raises(RobotError):
        parse_robot(raw)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("surprise",), 1),
        (("limits", "surprise"), 1),
        (("limits", "velocity_rad_s"), [0.0] * 7),
        (("limits", "velocity_rad_s"), [1.0] * 6),
        (("limits", "position_lower_rad"), [3.0] * 7),
        (("limits", "excess_rad"), -0.1),
        (("home_rad",), [9.0] * 7),
        (("output",), "carrier_pigeon"),
        (("time_from_start_s",), 0.0),
        (("gripper", "open"), 0.0),
        (("gripper", "output"), "own_topic"),
        (("topics",), {"command": "/a"}),
        (("topics", "command"), "not a topic"),
        (("joints",), "abc"),
        (("joints",), ["panda_joint1"] * 7),
        (("gripper", "joint"), "panda_joint1"),
        (("cameras",), ["front"]),
        (("cameras",), {"front": "/a", "wrist": "/a"}),
        (("limits", "position_upper_rad"), [157.0] * 7),
    ],
)
def test_when_a_value_makes_no_sense_expect_refusal(path, value):
    raw = copy.deepcopy(RAW)
    target = raw
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises((RobotError, ValueError)):
        parse_robot(raw)


def test_when_there_is_no_file_or_no_yaml_expect_refusal(tmp_path: Path):
    with pytest.raises(RobotError):
        load_robot(tmp_path / "none.yaml")
    for content in (b"[", b"", b"\xff\xfe", b"- a", b"version https://git-lfs.github.com/spec/v1\n"):
        (tmp_path / "bad.yaml").write_bytes(content)
        with pytest.raises(RobotError, match=r"robot file .*bad\.yaml: "):
            load_robot(tmp_path / "bad.yaml")


def test_when_two_cameras_have_one_topic_expect_both_named():
    raw = copy.deepcopy(RAW)
    raw["cameras"] = {"front": "/a", "wrist": "/a"}
    with pytest.raises(RobotError, match="front and wrist have one topic, /a"):
        parse_robot(raw)


def test_when_a_policy_is_for_another_arm_expect_the_field_named():
    robot = parse_robot(RAW)
    contract = contract_for(robot)
    assert "joint_names" in robot.contract_problems(replace(contract, joint_names=("a",)))[0]
    names = contract.action_names
    swapped = replace(contract, action_names=(names[1], names[0], *names[2:]))
    assert "action_names" in robot.contract_problems(swapped)[0]


def test_when_the_gripper_is_mapped_expect_the_way_there_and_back():
    robot = parse_robot(RAW)
    inverted = replace(robot.gripper, closed=0.8, open=0.0)
    assert inverted.to_opening(0.8) == 0.0 and inverted.to_opening(0.0) == 1.0
    assert inverted.to_position(inverted.to_opening(0.3)) == pytest.approx(0.3)
    assert robot.gripper.output is GripperOutput.WITH_ARM and robot.output is Output.JOINT_TRAJECTORY
