# SPDX-License-Identifier: Apache-2.0
"""Joints in other units, names or orders are refused with frame, joint, value and limits; a mapping converts them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from experience.core.dataset import DatasetError
from experience.core.lerobot.mapping import MappingError, read_mapping
from fakes.lerobot_files import (
    ARM,
    DATA,
    JOINTS,
    change_info,
    change_joints,
    change_rows,
    gripper_first,
    in_degrees,
    panda_dataset,
)
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from vla_policy.core.backends import load_backend
from whetstone_cli.jobs.robots import dataset_of, episodes_of, watcher_of
from whetstone_common.core.joint_layout import JointLayout

DEGREES = {joint: {"unit": "deg"} for joint in ARM} | {"panda_gripper": {"unit": "percent"}}
LAYOUT = JointLayout(("a", "b"), "g", gripper_closed=0.8, gripper_open=0.0)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return panda_dataset(tmp_path_factory.mktemp("set") / "good")


@pytest.fixture(scope="module")
def watcher() -> EpisodePreprocessor:
    return watcher_of("sim_panda", load_backend("fake").spec, Path("fake"))


@pytest.fixture
def root(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "set"))


def mapped(folder: Path, content: object) -> Path:
    path = folder / "mapping.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def states(root: Path, watcher: EpisodePreprocessor, mapping: Path | None = None) -> np.ndarray:
    episodes = list(episodes_of(dataset_of(root, "sim_panda", mapping), watcher))
    for recorded in episodes:
        np.testing.assert_array_equal(recorded.states, recorded.actions)
    return np.concatenate([recorded.states for recorded in episodes])


def test_when_units_and_names_are_the_robots_expect_them_as_they_are(root: Path, watcher: EpisodePreprocessor) -> None:
    assert states(root, watcher).shape == (22, 8)


def test_when_joints_are_in_degrees_expect_frame_joint_value_and_limits(
    root: Path, watcher: EpisodePreprocessor
) -> None:
    change_joints(root, in_degrees)
    words = (
        r"episode 0, frame 0: observation.state of panda_joint2 is -22\.92 rad, allowed: -1\.884 to 1\.884.*--mapping"
    )
    with pytest.raises(DatasetError, match=words):
        states(root, watcher)


def test_when_only_the_gripper_is_in_percent_expect_that_said(root: Path, watcher: EpisodePreprocessor) -> None:
    change_joints(root, lambda joints: np.append(joints[:-1], 100.0 * joints[-1]))
    with pytest.raises(DatasetError, match=r"panda_gripper is 100 of the opening, allowed: -0\.1 to 1\.1"):
        states(root, watcher)


def test_when_one_command_is_out_of_range_expect_its_episode_and_frame(
    root: Path, watcher: EpisodePreprocessor
) -> None:
    def spoil(rows: list) -> None:
        rows[12 + 7]["action"][3] = 0.3

    change_rows(root, DATA, spoil)
    with pytest.raises(DatasetError, match=r"episode 1, frame 7: action of panda_joint4 is 0\.3 rad"):
        states(root, watcher)


@pytest.mark.parametrize("names", [gripper_first(JOINTS), [f"{name}.pos" for name in JOINTS], None])
def test_when_names_are_not_the_robots_expect_refusal(
    root: Path, watcher: EpisodePreprocessor, names: list | None
) -> None:
    change_info(root, lambda b: [b["features"][key].update(names=names) for key in ("observation.state", "action")])
    with pytest.raises(DatasetError, match=r"observation\.state holds \[.*than the robot's.*--mapping"):
        states(root, watcher)


def test_when_a_mapping_says_degrees_expect_the_robots_units(
    root: Path, good: Path, watcher: EpisodePreprocessor, tmp_path: Path
) -> None:
    change_joints(root, in_degrees)
    found = states(root, watcher, mapped(tmp_path, {"joints": DEGREES}))
    np.testing.assert_allclose(found, states(good, watcher), atol=1e-6)


def test_when_a_mapping_says_names_expect_the_robots_order(
    root: Path, good: Path, watcher: EpisodePreprocessor, tmp_path: Path
) -> None:
    names = [f"{name}.pos" for name in gripper_first(JOINTS)]
    change_joints(root, lambda joints: np.array(gripper_first(in_degrees(joints))), names)
    joints = {joint: {"name": f"{joint}.pos", **entry} for joint, entry in DEGREES.items()}
    mapping = mapped(tmp_path, {"joints": joints})
    np.testing.assert_allclose(states(root, watcher, mapping), states(good, watcher), atol=1e-6)
    change_info(root, lambda b: [b["features"][key].update(names=None) for key in ("observation.state", "action")])
    mapping = mapped(tmp_path, {"joints": joints, "names": names})
    np.testing.assert_allclose(states(root, watcher, mapping), states(good, watcher), atol=1e-6)


def test_when_a_mapping_is_of_the_wrong_unit_expect_its_result_checked_all_the_same(
    root: Path, watcher: EpisodePreprocessor, tmp_path: Path
) -> None:
    change_joints(root, in_degrees)
    mapping = mapped(tmp_path, {"joints": DEGREES | {"panda_joint2": {"unit": "rad"}}})
    with pytest.raises(DatasetError, match=r"panda_joint2 is -22\.92 rad"):
        states(root, watcher, mapping)


def test_when_scale_and_offset_are_given_expect_them_before_the_unit(tmp_path: Path) -> None:
    joints = {"a": {"unit": "deg", "scale": -1.0, "offset": 90.0}, "b": {}, "g": {"unit": "deg"}}
    mapping = read_mapping(mapped(tmp_path, {"joints": joints}), LAYOUT)
    recorded = np.array([[0.0, 0.5, np.degrees(0.8)], [180.0, -0.5, 0.0]])
    wanted = [[np.pi / 2, 0.5, 0.0], [-np.pi / 2, -0.5, 1.0]]
    np.testing.assert_allclose(mapping.convert(recorded, LAYOUT.names, ""), wanted, atol=1e-12)
    with pytest.raises(MappingError, match="here has no 'b'"):
        mapping.convert(recorded, ("a", "x", "g"), "here")
    with pytest.raises(MappingError, match="here has 3 numbers, there are 2 names"):
        mapping.convert(recorded, ("a", "b"), "here")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "expected keys with values"),
        ("joints: [a, b]", "joints is .*expected keys with values"),
        ({"joints": {"a": {}, "g": {}}}, r"lacks \['b'\]"),
        ({"joints": {"a": {}, "b": {}, "g": {}, "h": {}}}, r"has \['h'\]"),
        ({"joints": {"a": {"unit": "grad"}, "b": {}, "g": {}}}, r"joints\.a\.unit is 'grad', expected"),
        ({"joints": {"a": {"unit": "percent"}, "b": {}, "g": {}}}, r"joints\.a\.unit is 'percent'"),
        ({"joints": {"a": {"scale": 0.0}, "b": {}, "g": {}}}, r"joints\.a\.scale is 0"),
        ({"joints": {"a": {"offset": float("nan")}, "b": {}, "g": {}}}, "expected a finite number"),
        ({"joints": {"a": {"name": "b"}, "b": {}, "g": {}}}, "uses a name twice"),
        ({"joints": {"a": {"factor": 2.0}, "b": {}, "g": {}}}, r"the key joints\.a\.factor is unknown"),
    ],
)
def test_when_a_mapping_file_is_wrong_expect_file_and_key(tmp_path: Path, content: object, words: str) -> None:
    with pytest.raises(MappingError, match=rf"mapping\.yaml: .*{words}"):
        read_mapping(mapped(tmp_path, content), LAYOUT)
