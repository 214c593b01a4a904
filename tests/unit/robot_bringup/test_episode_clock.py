# SPDX-License-Identifier: Apache-2.0
"""An episode starts from a joint state that is new enough, and each tick gets one command."""

from __future__ import annotations

from robot_bringup.core.episode_clock import EpisodeClock


def test_when_an_episode_begins_expect_it_to_wait_for_a_joint_state_that_is_new_enough():
    clock = EpisodeClock()
    assert not clock.is_waiting
    clock.begin(1_000)
    assert clock.is_waiting and not clock.may_start(999) and clock.may_start(1_000)
    clock.stop_waiting()
    assert not clock.is_waiting and clock.may_start(0)


def test_when_a_tick_is_answered_expect_only_newer_ones_to_wait_and_all_of_the_next_episode():
    clock = EpisodeClock()
    clock.begin(0)
    assert clock.awaits_command(0)
    clock.answer(50)
    assert not clock.awaits_command(50) and clock.awaits_command(51)
    clock.begin(0)
    assert clock.awaits_command(50)
