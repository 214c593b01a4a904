# SPDX-License-Identifier: Apache-2.0
"""A task of one's own: the tutorial's own file, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness.tutorial import blocks_of
from sim_bridge.core import tasks
from sim_bridge.core.expert import ExpertController
from sim_bridge.core.task_file import TaskFileError, load_task, parse_task
from sim_bridge.core.tasks import PairState, Task, add_task, get_task
from sim_bridge.core.world import World


@pytest.fixture(autouse=True)
def shipped_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that a test adds are gone after it."""
    monkeypatch.setattr(tasks, "_tasks", added := dict(tasks.TASKS))
    monkeypatch.setattr(tasks, "TASKS", added)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The task file of the tutorial, under a name that no other test uses."""
    (text,) = [block.text for block in blocks_of("your-own-task.md", {}) if block.title == "tray.yaml"]
    path = tmp_path / "tray_of_test.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def scene(file: Path) -> dict[str, Any]:
    return yaml.safe_load(yaml.safe_load(file.read_text())["/**/sim_node"]["ros__parameters"]["scene"])


def parsed(scene: dict[str, Any]) -> Task:
    return parse_task("mine", yaml.safe_dump(scene))


def state(error: tuple[float, float, float] = (0.0, 0.0, 0.0), **changes: Any) -> PairState:
    values = {"tilt_rad": 0.0, "speed_m_s": 0.0, "touched": False} | changes
    return PairState(error=np.array(error), **values)


def test_when_the_tutorials_file_is_read_expect_a_world_of_it(file: Path) -> None:
    task = load_task(file)
    add_task(task)
    world = World(task.name, image_size=16)
    first = world.instruction
    assert first.endswith("tray") and not world.truth().success
    world.reset(7)
    again = World(task.name, image_size=16)
    again.reset(7)
    assert world.layout == again.layout
    assert ExpertController(get_task(task.name)).aim(world.sense()).opening == 1.0


def test_when_a_pair_is_judged_expect_each_bound_to_count(scene: dict[str, Any]) -> None:
    done = parsed(scene).done
    assert done(state())
    for bad in (
        state((0.031, 0.0, 0.0)), state((0.0, 0.0, 0.009)), state((0.0, 0.0, -0.009)), state(tilt_rad=0.3),
        state(speed_m_s=0.1), state(touched=True),
    ):  # fmt: skip
        assert not done(bad)
    scene["success"]["let_go"] = False
    assert parsed(scene).done(state(touched=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "red"}, "the key colour is unknown"),
        ({"phrase": "tidy up"}, "expected {object} in it"),
        ({"phrase": "put {object} on {goal} of {place}"}, "alone in braces"),
        ({"objects": ["block_a", "cup"]}, "there is no body 'cup'"),
        ({"objects": ["block_a"]}, "objects"),
        ({"objects": ["tray_a", "block_a"], "goals": ["tray_b", "block_b"]}, "'tray_a' has no mass_kg"),
        ({"clearance_m": float("nan")}, "clearance_m"),
        ({"goal_offset_z_m": "high"}, "goal_offset_z_m is 'high', expected a finite number"),
        ({"success": {"error_xy_m": 0.01}}, "the key success.error_z_m is missing"),
    ],
)
def test_when_a_scene_makes_no_sense_expect_the_key_named(
    scene: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(TaskFileError, match=words):
        parsed(scene | change)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"box_half_m": [0.1, 0.1, 0.0]}, "three positive numbers"),
        ({"box_half_m": [0.1, 0.1]}, "box_half_m"),
        ({"disc_radius_m": 0.1}, "a box .* or a disc"),
        ({"box_half_m": [0.1, 0.1, 0.1], "disc_radius_m": 0.1, "disc_half_height_m": 0.1}, "a box .* or a disc"),
    ],
)
def test_when_a_part_is_neither_box_nor_disc_expect_a_refusal(
    scene: dict[str, Any], part: dict[str, Any], words: str
) -> None:
    scene["bodies"][0]["parts"] = [part]
    with pytest.raises(TaskFileError, match=words):
        parsed(scene)


def test_when_a_file_has_no_scene_expect_it_named(tmp_path: Path) -> None:
    path = tmp_path / "bare.yaml"
    path.write_text("/**/episode_node:\n  ros__parameters: {task: bare}\n", encoding="utf-8")
    with pytest.raises(TaskFileError, match=r"bare\.yaml: sim_node has no parameter scene"):
        load_task(path)
    with pytest.raises(TaskFileError, match="there is no such file"):
        load_task(tmp_path / "none.yaml")


def test_when_a_name_is_taken_expect_the_first_task_to_stay(scene: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="another task of the name 'stack'"):
        add_task(parse_task("stack", yaml.safe_dump(scene)))
    one = parsed(scene)
    add_task(one)
    add_task(parsed(scene))
    with pytest.raises(ValueError, match="another task"):
        add_task(parsed(scene | {"clearance_m": 0.2}))
    assert get_task("mine") == one
