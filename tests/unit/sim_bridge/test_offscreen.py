# SPDX-License-Identifier: Apache-2.0
"""Several OpenGL contexts in one process: whoever closes one leaves the pictures of the others alone."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from sim_bridge.core.world import World


def world_of(task: str) -> World:
    world = World(task)
    world.reset(1)
    return world


def drop(worlds: list[World]) -> None:
    """Let a world go without closing it."""
    worlds.clear()


def close(worlds: list[World]) -> None:
    """Close a world, as its owner should."""
    worlds[0].close()


@pytest.mark.parametrize("end", [close, drop])
def test_when_one_of_two_worlds_ends_expect_the_other_shown_as_before(end: Callable[[list[World]], None]) -> None:
    first, second = [world_of("stack")], world_of("insert")
    first[0].render("front")
    before = second.render("front")
    end(first)
    assert np.array_equal(second.render("front"), before)


def test_when_a_world_is_closed_and_shown_again_expect_the_picture_of_before() -> None:
    world = world_of("stack")
    before = world.render("wrist")
    world.close()
    world.close()
    assert np.array_equal(world.render("wrist"), before)


def test_when_another_thread_closes_a_world_expect_its_own_pictures_as_before() -> None:
    first, second = world_of("stack"), world_of("insert")
    first.render("front")
    pictures = []

    def other() -> None:
        pictures.append(second.render("front"))
        first.close()
        pictures.append(second.render("front"))
        second.close()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert np.array_equal(*pictures)
