# SPDX-License-Identifier: Apache-2.0
"""The policy's view of a robot file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vla_policy.core.robot_view import RobotFileError, load_robot_view

ROBOTS = Path(__file__).resolve().parents[3] / "ros2_ws" / "src" / "robot_bringup" / "config" / "robots"
GOOD: dict[str, Any] = {
    "joints": ["a", "b"],
    "gripper": {"joint": "g", "closed": 0.0, "open": 0.04},
    "urdf": "arm.urdf",
    "tip": "tool",
    "topics": {"joint_states": "/states"},
    "cameras": {"front": "/front"},
}


def written(folder: Path, content: Any) -> Path:
    """A robot file with a URDF beside it."""
    (folder / "arm.urdf").write_text("<robot/>", encoding="utf-8")
    path = folder / "robot.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(ROBOTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_when_a_shipped_robot_is_read_expect_joints_cameras_and_a_urdf(path: Path) -> None:
    view = load_robot_view(path)
    assert view.joints.arm and "<robot" in view.urdf and view.tip and view.joint_states_topic.startswith("/")


def test_when_a_robot_file_is_good_expect_what_it_says(tmp_path: Path) -> None:
    view = load_robot_view(written(tmp_path, GOOD))
    assert view.joints.names == ("a", "b", "g") and view.joints.gripper_open == 0.04
    assert view.urdf == "<robot/>" and dict(view.camera_topics) == {"front": "/front"}


def test_when_the_file_lies_elsewhere_expect_a_urdf_at_a_path_relative_to_it_or_else_a_shipped_one(
    tmp_path: Path,
) -> None:
    shipped = tmp_path / "shipped"
    for folder in (tmp_path / "mine" / "urdf", shipped):
        folder.mkdir(parents=True)
    (tmp_path / "mine" / "urdf" / "arm.urdf").write_text("<robot name='mine'/>", encoding="utf-8")
    (shipped / "panda.urdf").write_text("<robot name='panda'/>", encoding="utf-8")
    beside = written(tmp_path, GOOD | {"urdf": "mine/urdf/arm.urdf"})
    assert load_robot_view(beside, shipped).urdf == "<robot name='mine'/>"
    assert load_robot_view(written(tmp_path, GOOD | {"urdf": "panda.urdf"}), shipped).urdf == "<robot name='panda'/>"


@pytest.mark.parametrize("key", ["joints", "gripper", "urdf", "tip", "topics"])
def test_when_a_key_is_missing_expect_refusal_that_names_file_and_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(RobotFileError, match=rf"robot\.yaml.*{key}"):
        load_robot_view(written(tmp_path, {name: value for name, value in GOOD.items() if name != key}))


@pytest.mark.parametrize(
    "content",
    ["", "- a", "a: [", GOOD | {"joints": ["a", "a"]}, GOOD | {"urdf": "none.urdf"}, GOOD | {"cameras": ["front"]},
     GOOD | {"cameras": {"front": "/a", "wrist": "/a"}}, GOOD | {"topics": {"joint_states": "no topic"}},
     GOOD | {"limits": {"position_lower_rad": [0.0], "position_upper_rad": [1.0, 1.0]}},
     GOOD | {"gripper": {"joint": "g", "closed": 1.0, "open": 1.0}}],
)  # fmt: skip
def test_when_a_robot_file_makes_no_sense_expect_refusal_that_names_it(tmp_path: Path, content: Any) -> None:
    with pytest.raises(RobotFileError, match=r"robot\.yaml"):
        load_robot_view(written(tmp_path, content))


def test_when_there_is_no_file_expect_refusal_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(RobotFileError, match=r"none\.yaml"):
        load_robot_view(tmp_path / "none.yaml")
