# SPDX-License-Identifier: Apache-2.0
"""Tasks: what a seed may draw."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sim_bridge.core.tasks import COLOURS, TASKS, PairState, Task, get_task


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    """Each task."""
    return get_task(request.param)


def test_when_many_episodes_are_drawn_expect_all_colours_and_room_between_bodies(task: Task) -> None:
    objects, goals = set(), set()
    for seed in range(200):
        layout = task.draw(np.random.default_rng(seed))
        objects.add(layout.colours[layout.object_name])
        goals.add(layout.colours[layout.goal_name])
        for a, b in itertools.combinations(layout.placements, 2):
            apart = math.dist(layout.placements[a].position[:2], layout.placements[b].position[:2])
            assert apart >= task.spacing_m[a] + task.spacing_m[b]
    assert objects == goals == set(COLOURS)


def test_when_an_episode_is_drawn_expect_words_that_name_one_object_and_one_goal(task: Task) -> None:
    for seed in range(100):
        layout = task.draw(np.random.default_rng(seed))
        assert layout.object_name != layout.goal_name
        for names in (task.objects, task.goals):
            colours = [layout.colours[name] for name in names]
            assert len(set(colours)) == len(colours) >= 2  # a distractor of another colour is always there
        object_colour, goal_colour = layout.colours[layout.object_name], layout.colours[layout.goal_name]
        assert layout.instruction == task.phrase.format(object=object_colour, goal=goal_colour)


def test_when_other_words_are_drawn_expect_them_to_name_another_pair_of_the_same_scene(task: Task) -> None:
    for seed in range(50):
        layout = task.draw(np.random.default_rng(seed))
        pairs = {
            task.phrase.format(object=layout.colours[thing], goal=layout.colours[goal])
            for thing in task.objects
            for goal in task.goals
            if thing != layout.object_name and goal not in (layout.goal_name, thing)
        }
        assert layout.other_instruction in pairs - {layout.instruction}


def state(error: tuple[float, float, float], **changes: float | bool) -> PairState:
    """A pair at rest with this error."""
    values = {"tilt_rad": 0.0, "speed_m_s": 0.0, "touched": False} | changes
    return PairState(error=np.array(error), **values)  # type: ignore[arg-type]


def test_when_the_object_is_where_it_should_be_expect_done(task: Task) -> None:
    assert task.done(state((0.0, 0.0, 0.0)))


def test_when_the_object_is_beside_or_above_expect_not_done(task: Task) -> None:
    assert not task.done(state((0.06, 0.0, 0.0)))
    assert not task.done(state((0.0, 0.0, 0.02)))


@pytest.mark.parametrize("name", ["pick_place", "stack"])
def test_when_the_object_is_still_held_or_moving_expect_not_done(name: str) -> None:
    assert not get_task(name).done(state((0.0, 0.0, 0.0), touched=True))
    assert not get_task(name).done(state((0.0, 0.0, 0.0), speed_m_s=0.2))


def test_when_a_peg_only_rests_on_the_rim_expect_not_done() -> None:
    assert not get_task("insert").done(state((0.0, 0.0, 0.03)))
    assert not get_task("insert").done(state((0.0, 0.0, 0.0), tilt_rad=0.5))


def test_when_a_task_is_unknown_expect_the_known_ones_named() -> None:
    with pytest.raises(ValueError, match="insert"):
        get_task("juggle")
