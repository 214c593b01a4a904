# SPDX-License-Identifier: Apache-2.0
"""A person takes over, drives and lets go, and what the arm does when they vanish."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fakes.arm_world import ArmWorld
from robot_bringup.core.takeover import TakeoverMode
from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.core.reason import Reason


def test_when_a_person_takes_over_during_inference_expect_them_to_drive_within_one_period():
    world = ArmWorld().running()
    world.play()
    request = world.asked()
    world.person()
    assert world.status == ("RUNNING", "TAKEOVER")
    world.step()
    assert world.commands[-1][1].actor is Actor.HUMAN
    world.keep(world.arm.on_chunk(world.chunk(request), world.now))
    for _ in range(30):
        world.person()
        world.step(2)
    assert world.counters["chunk_foreign"] == 1
    assert all(command.actor is Actor.HUMAN for _, command in world.commands[-50:])
    actors = {done.actor for done in world.executed[9:]}
    assert actors == {Actor.HUMAN}
    world.assert_within_limits()


def test_when_the_person_releases_expect_a_fresh_observation_asked():
    world = ArmWorld().running()
    world.play()
    world.person()
    world.step(10)
    world.person(engaged=False)
    released_ns = world.ros_ns
    world.step(2)
    assert world.asked().not_before_ns >= released_ns
    old_eyes = world.chunk()
    stale = replace(old_eyes, stamp=replace(old_eyes.stamp, observation_ns=released_ns - 40_000_000))
    world.keep(world.arm.on_chunk(stale, world.now))
    assert world.counters["chunk_stale"] == 1
    world.play()
    assert world.commands[-1][1].actor in (Actor.POLICY, Actor.HOLD)


def test_when_the_person_vanishes_expect_hold_until_release_and_new_engage():
    world = ArmWorld().running()
    world.play()
    world.person()
    world.step(40)
    assert world.status == ("STOPPED", "TAKEOVER_LOST")
    count = len(world.commands)
    world.person()
    world.step(10)
    assert world.status == ("STOPPED", "TAKEOVER_LOST")
    assert all(command.actor is Actor.HOLD for _, command in world.commands[count:])
    world.person(engaged=False)
    world.person()
    world.step(10)
    assert world.status == ("RUNNING", "TAKEOVER")
    world.assert_within_limits()


def test_when_an_axis_sticks_with_fresh_stamps_expect_takeover_lost():
    world = ArmWorld(takeover_stuck_s=1.0).running()
    for _ in range(120):
        world.person(twist=np.array([0.0, 0.01, 0, 0, 0, 0]))
        world.step()
    assert world.status == ("STOPPED", "TAKEOVER_LOST")


def test_when_a_second_person_wants_the_wheel_expect_refusal_by_name():
    world = ArmWorld().running()
    world.person()
    world.person(source="/rogue_teleop")
    world.step()
    _, reason, detail = world.arm.status
    assert reason is Reason.TAKEOVER or "/rogue_teleop" in detail
    assert world.counters["second_source"] == 1


def test_when_a_person_wants_what_is_not_finite_expect_it_refused():
    world = ArmWorld().running()
    world.person(twist=np.full(6, np.nan))
    world.person(drive=TakeoverMode.TCP_TARGET, tcp_target=np.full(7, np.nan))
    world.step(5)
    assert world.counters["takeover_refused"] == 2
    np.testing.assert_array_equal(world.positions() - world.robot.home, 0.0)


def test_when_a_person_wants_a_far_target_expect_a_slow_way_there():
    world = ArmWorld().running()
    target = world.kinematics.fk(world.joints)
    seven = np.array([*(target.position + np.array([0.0, 0.3, 0.0])), 1.0, 0.0, 0.0, 0.0])
    for _ in range(60):
        world.person(drive=TakeoverMode.TCP_TARGET, tcp_target=seven)
        world.step(2)
    np.testing.assert_allclose(world.kinematics.fk(world.joints).position, seven[:3], atol=5e-3)
    world.assert_within_limits()


def test_when_looks_are_for_people_only_expect_them_from_the_takeover_on():
    world = ArmWorld(query_stride=2, query_always=False).running()
    world.play(2)
    assert not [request for request in world.requests if request.kind is RequestKind.QUERY_ONLY]
    for _ in range(15):
        world.person()
        world.step(2)
    looks = [request for request in world.requests if request.kind is RequestKind.QUERY_ONLY]
    assert len(looks) == 3  # of six steps


# ---- rows 87 and 88: devices that say strange things ---------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"opening": float("inf")},
        {"opening": 50.0},
        {"twist": np.array([1e9, 0, 1e9, 0, 0, 0])},
        {"time_ns": 5},
        {"time_ns": 10**19},
    ],
)
def test_when_a_device_says_what_cannot_be_expect_it_refused_counted_and_the_policy_to_go_on(changes):
    world = ArmWorld().running()
    world.play()
    for _ in range(5):
        world.person(**changes)
        world.step()
    assert world.counters["takeover_refused"] == 5 and world.counters["takeovers"] == 0
    state, reason, detail = world.arm.status
    assert (
        state.name != "STOPPED" and reason is Reason.BAD_MESSAGE and detail.startswith("takeover from /operator_node")
    )
    world.assert_within_limits()


def test_when_a_device_goes_mad_while_it_drives_expect_the_person_lost_and_no_jump():
    world = ArmWorld().running()
    world.play()
    world.person()
    world.step(5)
    for _ in range(40):
        world.person(opening=float("inf"))
        world.step()
    assert world.status == ("STOPPED", "TAKEOVER_LOST")
    assert all(0.0 <= command.motion.opening <= 1.0 for _, command in world.commands)
    world.assert_within_limits()


def test_when_the_sequence_goes_back_expect_it_counted_and_not_obeyed():
    world = ArmWorld().running()
    world.play()
    world.person()
    world.person(sequence=1, engaged=False)
    assert world.counters["takeover_old"] == 1 and world.status == ("RUNNING", "TAKEOVER")


def test_when_a_message_has_no_time_expect_it_to_drive_in_real_time_and_not_in_lockstep():
    world = ArmWorld().running()
    world.person(time_ns=0)
    assert world.status == ("RUNNING", "TAKEOVER")
    waiting = ArmWorld(lockstep=True, joint_timeout_s=20.0, takeover_timeout_s=20.0)
    waiting.running(not_before_ns=waiting.ros_ns)
    waiting.person(time_ns=0)
    assert waiting.counters["takeover_refused"] == 1 and waiting.counters["takeovers"] == 0


def test_when_the_first_device_is_gone_expect_the_second_to_drive():
    world = ArmWorld().running()
    world.play()
    world.person()
    world.person(engaged=False)
    world.person(source="/vr_teleop")
    assert world.counters["second_source"] == 1
    world.step(210)
    world.answer()
    world.person(source="/vr_teleop")
    assert world.status == ("RUNNING", "TAKEOVER")
