# SPDX-License-Identifier: Apache-2.0
"""The arm's core in lockstep: the world waits for it, and the same inputs give the same episode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fakes.arm_world import DT_S, ArmWorld
from robot_bringup.core.chunk_queue import Execution
from whetstone_common.core.enums import Actor, RequestKind


def lockstep(**settings: object) -> ArmWorld:
    return ArmWorld(lockstep=True, joint_timeout_s=20.0, takeover_timeout_s=20.0, **settings)


def begin(world: ArmWorld, **resume: object) -> ArmWorld:
    world.running(**{"not_before_ns": world.ros_ns} | resume)
    return world


def run(world: ArmWorld, ticks: int, *, early: bool = True) -> None:
    """The world advances whenever it was commanded; the policy answers at once, or only when the arm waits."""
    answered, pending = 0, None
    while len(world.executed) < ticks:
        acts = [request for request in world.requests if request.kind is RequestKind.ACT]
        if len(acts) > answered:
            answered, pending = len(acts), world.chunk(acts[-1], velocity_m_s=0.2)
        waits = not world.executed or world.executed[-1].time_ns < world.ros_ns
        if pending is not None and (early or waits):
            world.keep(world.arm.on_chunk(pending, world.now))
            pending = None
        else:
            assert not waits
            world.world_tick()


def test_when_a_joint_state_is_repeated_expect_no_second_command():
    world = begin(lockstep())
    world.answer()
    assert len(world.commands) == 1
    for _ in range(5):
        world.show_joints()
    assert len(world.commands) == 1
    world.world_tick()
    assert len(world.commands) == 2


def test_when_it_waits_for_a_chunk_expect_nothing_sent():
    world = begin(lockstep())
    for _ in range(5):
        world.show_joints()
        world.steady_s += 0.1
        world.arm.watch(world.now)
    assert world.commands == [] and len(world.requests) == 1
    assert world.requests[0].not_before_ns == world.ros_ns


def test_when_an_old_joint_state_comes_after_the_resume_expect_it_ignored():
    world = lockstep()
    world.running(not_before_ns=world.ros_ns + 50_000_000)
    world.show_joints()
    assert world.requests == []
    world.world_tick()
    assert world.requests[0].not_before_ns == world.ros_ns


def test_when_a_chunk_is_played_expect_one_tick_stamped_command_and_one_record_per_tick():
    world = begin(lockstep())
    run(world, 24)
    ticks = [command.tick_ns for _, command in world.commands]
    np.testing.assert_array_equal(np.diff(ticks), round(DT_S * 1e9))
    assert [done.step for done in world.executed][:16] == list(range(8)) * 2
    assert [done.episode_step for done in world.executed] == list(range(len(world.executed)))
    for (_, command), done in zip(world.commands, world.executed, strict=True):
        np.testing.assert_array_equal(command.motion.position, done.joint_command[:-1])
    world.assert_within_limits()


def test_when_the_wish_is_allowed_expect_it_exactly():
    world = begin(lockstep())
    chunk = world.answer(velocity_m_s=0.1)
    np.testing.assert_allclose(world.executed[0].action, chunk.actions[0], atol=2e-4)
    assert not world.executed[0].limited


def test_when_the_same_is_played_twice_expect_the_same_bits_whatever_came_before():
    once, twice = begin(lockstep()), begin(lockstep())
    run(once, 20)
    run(twice, 9)
    twice.arm.pause()
    twice.joints, twice.opening = twice.robot.home.copy(), 1.0
    twice.ros_ns += 10**9
    twice.show_joints()
    twice.commands.clear()
    twice.executed.clear()
    twice.requests.clear()
    twice.keep(twice.arm.resume(twice.now, episode=0, seed=3, max_steps=0, not_before_ns=twice.ros_ns))
    run(twice, 20)
    np.testing.assert_array_equal(once.positions()[:20], twice.positions()[:20])


def test_when_delayed_and_asynchronous_expect_the_same_episode_however_fast_the_policy_is():
    fast = begin(lockstep(execution=Execution.ASYNC, delay_steps=3))
    slow = begin(lockstep(execution=Execution.ASYNC, delay_steps=3))
    run(fast, 40, early=True)
    run(slow, 40, early=False)
    assert [d.step for d in fast.executed[:40]] == [d.step for d in slow.executed[:40]]
    np.testing.assert_array_equal(fast.positions()[:40], slow.positions()[:40])
    assert any(d.step == 3 and old.step != 2 for d, old in zip(fast.executed[1:], fast.executed, strict=False))


def test_when_max_steps_are_played_expect_ready_and_silence():
    world = begin(lockstep(), max_steps=10)
    run(world, 10)
    world.world_tick()
    assert world.status == ("READY", "EPISODE_END") and len(world.commands) == 10
    world.world_tick()
    assert len(world.commands) == 10


def test_when_the_policy_is_silent_expect_policy_lost_by_the_steady_clock():
    world = begin(lockstep(chunk_timeout_s=1.0))
    world.steady_s += 1.1
    world.arm.watch(world.now)
    assert world.status == ("STOPPED", "POLICY_LOST")


def test_when_the_simulator_is_silent_expect_joint_state_lost():
    world = begin(lockstep())
    world.answer()
    world.steady_s += 21.0
    world.arm.watch(world.now)
    assert world.status == ("STOPPED", "JOINT_STATE_LOST")


def test_when_the_stamps_go_back_while_running_expect_clock_jump_and_while_ready_nothing():
    world = begin(lockstep())
    world.answer()
    world.ros_ns -= 10**9
    world.show_joints()
    assert world.status == ("STOPPED", "CLOCK_JUMP")
    other = lockstep()
    other.arm.on_contract(other.contract)
    other.show_joints()
    other.ros_ns -= 10**9
    other.show_joints()
    other.arm.arm("", other.now)
    assert other.status == ("READY", "NONE")


def test_when_a_person_drives_expect_each_tick_to_wait_for_their_target():
    world = begin(lockstep())
    world.answer()
    world.world_tick()
    world.person()
    commands = len(world.commands)
    assert world.commands[-1][1].actor is Actor.POLICY or commands == 3
    world.world_tick()
    assert len(world.commands) == commands
    world.person()
    assert len(world.commands) == commands + 1
    assert world.executed[-1].actor is Actor.HUMAN


def test_when_the_person_wants_the_impossible_expect_the_world_to_go_on():
    world = begin(lockstep())
    world.person(twist=np.array([1.0, 0, 0, 0, 0, 0]))
    for _ in range(40):
        world.world_tick()
        world.person(twist=np.array([1.4, 0, 0, 0, 0, 1e-6 * world.human_sequence]))
    assert len(world.executed) == 41
    world.assert_within_limits()


def test_when_a_chunk_is_garbage_expect_a_new_request_at_the_same_tick():
    world = begin(lockstep())
    chunk = world.chunk()
    world.keep(world.arm.on_chunk(replace(chunk, actions=chunk.actions * np.nan), world.now))
    assert len(world.requests) == 2 and world.commands == []
    assert world.requests[1].stamp.sequence == 1
    world.answer()
    assert len(world.commands) == 1


@pytest.mark.parametrize("pressed_at", [0, 3, 8])
def test_when_the_estop_is_pressed_expect_no_more_commands(pressed_at):
    world = begin(lockstep())
    run(world, pressed_at + 1)
    world.arm.on_estop(pressed=True)
    count = len(world.commands)
    world.world_tick()
    assert len(world.commands) == count and world.status == ("STOPPED", "ESTOP")


def test_when_the_simulator_is_asked_for_a_look_expect_it_before_the_command_of_that_tick():
    world = begin(lockstep(query_stride=2))
    run(world, 8)
    looks = [r for r in world.requests if r.kind is RequestKind.QUERY_ONLY]
    first_ns = world.requests[0].not_before_ns
    assert [round((r.not_before_ns - first_ns) / 1e9 / DT_S) for r in looks] == [2, 4, 6]


def test_when_looks_are_for_people_only_expect_none_before_and_after_and_the_stride_while_one_drives():
    world = begin(lockstep(query_stride=2, query_always=False))
    run(world, 8)
    for _ in range(7):
        world.person()
        world.world_tick()
    world.person(engaged=False)
    world.answer()
    for _ in range(7):
        world.world_tick()
    looks = [r.not_before_ns for r in world.requests if r.kind is RequestKind.QUERY_ONLY]
    by_person = [done for done in world.executed if done.actor is Actor.HUMAN]
    assert looks == [done.time_ns for done in by_person if done.episode_step % 2 == 0] and len(looks) >= 3
    assert [done.actor for done in (world.executed[0], world.executed[-1])] == [Actor.POLICY] * 2
