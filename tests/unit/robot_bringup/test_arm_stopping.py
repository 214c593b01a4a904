# SPDX-License-Identifier: Apache-2.0
"""What stops the arm, and how it comes back: watchdogs, clocks, emergency stop, contracts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fakes.arm_world import HORIZON, ArmWorld
from robot_bringup.core.state_machine import Refused
from whetstone_common.core.enums import Actor
from whetstone_common.core.reason import Reason


def test_when_the_estop_is_pressed_mid_chunk_expect_only_a_ramp_and_a_latch():
    world = ArmWorld().running()
    world.step()
    world.answer(velocity_m_s=0.5)
    world.step(12)
    count = len(world.commands)
    world.arm.on_estop(pressed=True)
    world.step(60)
    assert all(command.actor is Actor.HOLD for _, command in world.commands[count:])
    assert len(world.commands) - count < 25
    with pytest.raises(Refused, match="emergency stop"):
        world.arm.reset()
    world.arm.on_estop(pressed=False)
    assert world.status == ("STOPPED", "ESTOP")
    with pytest.raises(Refused, match="resume needs an armed arm at rest, it is stopped, emergency stop"):
        world.keep(world.arm.resume(world.now, episode=0, seed=1, max_steps=0, not_before_ns=0))
    world.arm.reset()
    assert world.status == ("READY", "NONE")
    world.assert_within_limits()


def test_when_the_arm_was_moved_while_stopped_expect_the_first_command_at_the_measured_pose():
    world = ArmWorld().running()
    world.play()
    world.arm.on_estop(pressed=True)
    world.step(30)
    world.joints = world.joints + 0.3 * np.array([1, 0, 0, 0, 0, 0, 0])
    world.arm.on_estop(pressed=False)
    world.step()
    world.arm.reset()
    measured = world.joints.copy()
    world.keep(world.arm.resume(world.now, episode=0, seed=1, max_steps=0, not_before_ns=0))
    count = len(world.commands)
    world.step()
    assert (np.abs(world.positions()[count] - measured) <= world.robot.limits.step).all()


def test_when_paused_while_lagging_expect_the_next_episode_to_start_from_the_last_command():
    world = ArmWorld().running()
    world.follow = False
    world.step()
    world.answer(velocity_m_s=0.05)
    world.step(20)
    world.arm.pause()
    world.step(20)
    last = world.positions()[-1]
    assert np.abs(last - world.joints).max() > 0.005
    world.keep(world.arm.resume(world.now, episode=0, seed=1, max_steps=0, not_before_ns=0))
    world.step()
    np.testing.assert_array_equal(world.positions()[-1], last)


def test_when_joint_states_fall_silent_expect_stopped():
    world = ArmWorld().running()
    world.play()
    world.joints_alive = False
    world.step(30)
    assert world.status == ("STOPPED", "JOINT_STATE_LOST")


def test_when_joints_freeze_with_fresh_stamps_expect_frozen_source():
    world = ArmWorld().running()
    world.follow = False
    for _ in range(3):
        world.step()
        world.answer(velocity_m_s=0.2)
        world.step(47)
    assert world.status == ("STOPPED", "FROZEN_SOURCE")


def test_when_a_controller_is_switched_off_expect_frozen_source_although_its_encoders_flicker():
    world = ArmWorld().running()
    world.follow = False
    flicker = np.random.default_rng(0).uniform(-0.0008, 0.0008, (400, 7))
    stood = world.joints
    for number in range(400):
        world.joints = stood + flicker[number]
        world.step()
        if number % 48 == 0 and world.status[0] == "RUNNING":
            world.answer(velocity_m_s=0.2)
    assert world.status == ("STOPPED", "FROZEN_SOURCE")
    assert np.abs(world.positions() - stood).max() < 0.2


def test_when_an_arm_follows_late_and_slowly_expect_it_to_go_on():
    world = ArmWorld().running()
    world.follow = False
    for number in range(400):
        if len(world.commands) > 20:  # 0.2 s late
            world.joints = world.commands[-20][1].motion.position
        world.step()
        if number % 48 == 0:
            world.answer(velocity_m_s=0.05)
    assert world.status[0] == "RUNNING"


def test_when_ros_time_jumps_back_expect_the_episode_to_end():
    world = ArmWorld().running()
    world.play()
    world.ros_ns -= 500 * 10**9
    world.step(2)
    assert world.status == ("STOPPED", "CLOCK_JUMP")


def test_when_ros_time_jumps_ahead_or_stops_expect_the_watchdogs_still_to_fire():
    world = ArmWorld(chunk_timeout_s=1.0).running()
    world.play()
    world.ros_ns += 1000 * 10**9
    frozen_ns = world.ros_ns
    for _ in range(200):
        world.step()
        world.ros_ns = frozen_ns
    assert world.status == ("STOPPED", "POLICY_LOST")


def test_when_the_contract_changes_while_running_expect_stopped():
    world = ArmWorld().running()
    world.play()
    world.arm.on_contract(replace(world.contract, horizon=HORIZON + 1))
    assert world.status == ("STOPPED", "CONTRACT_MISMATCH")
    assert "horizon" in world.arm.status[2]


def test_when_the_contract_does_not_fit_the_robot_expect_arming_refused_by_field():
    world = ArmWorld()
    world.arm.on_contract(replace(world.contract, joint_names=("a", "b")))
    world.show_joints()
    with pytest.raises(Refused, match="joint_names"):
        world.arm.arm("", world.now)


def test_when_nothing_is_known_expect_arming_refused():
    world = ArmWorld()
    with pytest.raises(Refused, match="policy_contract"):
        world.arm.arm("", world.now)
    world.arm.on_contract(world.contract)
    with pytest.raises(Refused, match="joint states"):
        world.arm.arm("", world.now)
    world.show_joints()
    with pytest.raises(Refused, match="expected other"):
        world.arm.arm("other", world.now)
    world.arm.arm(world.contract.hash(), world.now)


def test_when_the_node_itself_was_stopped_for_seconds_expect_the_chunk_discarded_and_no_motion_left_over():
    world = ArmWorld(joint_timeout_s=20.0).running()
    world.step()
    world.answer(velocity_m_s=0.4)
    world.step(17)
    last, count = world.positions()[-1], len(world.commands)
    world.steady_s += 5.0
    world.ros_ns += 5 * 10**9
    world.step(20)
    np.testing.assert_array_equal(world.positions()[count:] - last, 0.0)
    assert world.counters["stalls"] == 1 and world.arm.status[1] is Reason.DEADLINE_MISSED
    assert world.asked().not_before_ns >= world.ros_ns - 10**9
    world.play()
    assert world.executed[-1].actor is Actor.POLICY


def test_when_dry_expect_the_arm_to_stand_and_every_chunk_to_start_from_it():
    world = ArmWorld(dry_run=True).running()
    world.follow = False
    for _ in range(4):
        world.play(velocity_m_s=0.2)
    assert world.status[0] == "RUNNING"
    assert [done.step for done in world.executed] == list(range(8)) * 4
    assert not any(done.limited for done in world.executed)
