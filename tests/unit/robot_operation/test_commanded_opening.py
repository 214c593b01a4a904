# SPDX-License-Identifier: Apache-2.0
"""The opening that counts is the one of the present scene."""

from __future__ import annotations

from robot_operation.core.commanded_opening import CommandedOpening


def test_when_commands_come_after_the_reset_that_ended_their_episode_expect_them_ignored():
    commanded = CommandedOpening()
    commanded.on_scene(1)
    commanded.on_executed((7, 1), 0.0)
    assert commanded.opening == 0.0
    commanded.on_scene(2)
    assert commanded.opening == 1.0
    commanded.on_executed((7, 1), 0.0)
    assert commanded.opening == 1.0
    commanded.on_executed((7, 2), 0.25)
    assert commanded.opening == 0.25


def test_when_the_arm_has_started_anew_expect_its_smaller_numbers_to_count():
    commanded = CommandedOpening()
    commanded.on_executed((7, 5), 0.5)
    commanded.on_scene(1)
    commanded.on_executed((3, 1), 0.0)
    assert (commanded.newest_episode, commanded.opening) == ((3, 1), 0.0)


def test_when_a_record_has_no_command_expect_the_opening_as_it_was_and_the_episode_noted():
    commanded = CommandedOpening()
    commanded.on_scene(1)
    commanded.on_executed((7, 1), 0.5)
    commanded.on_executed((7, 2), None)
    assert (commanded.newest_episode, commanded.opening) == ((7, 2), 0.5)


def test_when_the_scene_is_the_same_expect_the_opening_as_it_was():
    commanded = CommandedOpening()
    commanded.on_scene(1)
    commanded.on_executed((7, 1), 0.0)
    commanded.on_scene(1)
    assert commanded.opening == 0.0
