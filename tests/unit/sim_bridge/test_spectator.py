# SPDX-License-Identifier: Apache-2.0
"""The camera for people: every scene is in its picture, with shadows, and the policy's images stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from harness.tutorial import blocks_of
from sim_bridge.core import spectator
from sim_bridge.core.spectator import Spectator
from sim_bridge.core.task_file import parse_task
from sim_bridge.core.tasks import add_task
from sim_bridge.core.world import World


def world_of(task: str, seed: int) -> World:
    world = World(task)
    world.reset(seed)
    return world


@pytest.fixture(scope="module", autouse=True)
def own_task() -> None:
    """The task of the tutorial, as a user's own."""
    (text,) = [block.text for block in blocks_of("your-own-task.md", {}) if block.title == "tray.yaml"]
    scene = yaml.safe_load(text)["/**/sim_node"]["ros__parameters"]["scene"]
    add_task(parse_task("tray_for_people", scene))


@pytest.mark.parametrize("task", ["pick_place", "stack", "insert", "tray_for_people"])
def test_when_a_scene_is_shown_expect_a_picture_of_its_own_and_the_policys_images_bit_for_bit(task: str) -> None:
    world, people = world_of(task, 3), Spectator()
    before = [world.render(name).copy() for name in ("front", "wrist")]
    first = people.render(world, world.state())
    assert first.shape == (480, 640, 3) and first.dtype == np.uint8
    assert first.std() > 20 and (first.max(axis=2) > 8).mean() > 0.95, "nothing is black but parts of the arm"
    world.reset(4)
    other = people.render(world, world.state())
    assert (np.abs(first.astype(int) - other) > 30).any(axis=2).mean() > 0.02
    world.reset(3)
    assert np.array_equal(people.render(world, world.state()), first)
    assert all(map(np.array_equal, before, [world.render(name) for name in ("front", "wrist")]))
    people.close()
    assert all(map(np.array_equal, before, [world.render(name) for name in ("front", "wrist")]))


def test_when_worlds_change_expect_each_shown_as_before() -> None:
    people, worlds = Spectator(), [world_of("stack", 1), world_of("insert", 1)]
    first, second, again = (people.render(world, world.state()) for world in (*worlds, worlds[0]))
    assert np.array_equal(first, again) and not np.array_equal(first, second)
    people.close()


def test_when_shadows_are_left_out_expect_parts_of_the_table_brighter(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of("pick_place", 1)
    shadowed = Spectator().render(world, world.state()).astype(int)
    monkeypatch.setattr(spectator, "_SHADOW_PX", 0)
    plain = Spectator().render(world, world.state()).astype(int)
    brighter = (plain - shadowed).min(axis=2) > 15
    assert 0.01 < brighter.mean() < 0.3
