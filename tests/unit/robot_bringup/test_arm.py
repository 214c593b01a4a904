# SPDX-License-Identifier: Apache-2.0
"""The arm's core as a whole, driven event by event on a clock that is turned by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fakes.arm_world import DT_S, ArmWorld, panda
from robot_bringup.core.chunk_queue import Execution
from robot_bringup.core.state_machine import Refused
from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.core.reason import Reason
from whetstone_common.core.stamp import QUERY_SEQUENCE

# ---- real time, synchronous ----------------------------------------------------------------------------------------


def test_when_resumed_expect_one_request_and_holding_still_until_the_chunk():
    world = ArmWorld().running()
    world.step(20)
    assert len(world.requests) == 1
    request = world.asked()
    assert (request.stamp.episode, request.stamp.sequence, request.seed) == (1, 0, 3)
    assert all(command.actor is Actor.HOLD for _, command in world.commands)
    np.testing.assert_array_equal(world.positions() - world.robot.home, 0.0)


def test_when_a_chunk_comes_expect_its_steps_then_a_new_request():
    world = ArmWorld().running()
    start = world.kinematics.fk(world.joints).position
    world.play()
    assert [done.step for done in world.executed] == list(range(8))
    assert all(done.actor is Actor.POLICY for done in world.executed)
    moved = world.kinematics.fk(world.joints).position - start
    np.testing.assert_allclose(moved, [0.0, 8 * 0.1 * DT_S, 0.0], atol=2e-3)
    assert len(world.requests) == 2 and world.asked().stamp.sequence == 1
    assert world.asked().not_before_ns >= world.requests[0].stamp.observation_ns + int(0.4e9)
    world.assert_within_limits()


def test_when_playing_expect_a_command_in_every_period():
    world = ArmWorld().running()
    world.play(3)
    times = np.array([time for time, _ in world.commands])
    np.testing.assert_allclose(np.diff(times), 0.01, atol=1e-9)


def test_when_a_step_ends_expect_the_executed_action_relative_to_the_chunks_reference():
    world = ArmWorld().running()
    world.step()
    chunk = world.answer()
    world.step(47)
    for done in world.executed:
        np.testing.assert_allclose(done.action[:3], chunk.actions[done.step, :3], atol=2e-3)
        np.testing.assert_allclose(done.action[3:6], 0.0, atol=2e-3)
        assert done.joint_command.shape == done.joint_positions.shape == (8,)


def test_when_nobody_answers_expect_underrun_then_policy_lost_and_no_motion():
    world = ArmWorld(chunk_timeout_s=2.0).running()
    world.play()
    world.step(100)
    assert world.status == ("HOLDING", "UNDERRUN")
    world.step(150)
    assert world.status == ("STOPPED", "POLICY_LOST")
    before = len(world.commands)
    world.step(50)
    assert len(world.commands) == before
    world.assert_within_limits()


def test_when_the_policy_comes_back_after_it_was_lost_expect_no_motion_until_reset_and_resume():
    world = ArmWorld(chunk_timeout_s=1.0).running()
    world.play()
    world.step(150)
    late = world.chunk()
    count = len(world.commands)
    world.keep(world.arm.on_chunk(late, world.now))
    world.step(20)
    assert len(world.commands) == count and world.counters["chunk_unwanted"] == 1
    with pytest.raises(Refused, match="resume needs an armed arm at rest, it is stopped, policy lost"):
        world.arm.resume(world.now, episode=0, seed=1, max_steps=0, not_before_ns=0)
    world.arm.reset()
    world.keep(world.arm.resume(world.now, episode=0, seed=1, max_steps=0, not_before_ns=0))
    world.play()
    assert world.status == ("RUNNING", "NONE")


def test_when_a_reply_is_late_expect_it_never_applied_to_a_later_request():
    world = ArmWorld().running()
    world.step()
    old = world.asked()
    world.person()
    world.step(10)
    world.person(engaged=False)
    world.step(2)
    assert world.asked().stamp.request_id > old.stamp.request_id
    world.keep(world.arm.on_chunk(world.chunk(old), world.now))
    world.step(10)
    assert world.counters["chunk_foreign"] == 1
    assert all(done.actor is not Actor.POLICY for done in world.executed)


def test_when_max_steps_are_played_expect_ready_with_the_count():
    world = ArmWorld().running(max_steps=11)
    world.play(3)
    assert world.status == ("READY", "EPISODE_END")
    assert len(world.executed) == 11
    assert world.arm.steps == 11
    world.arm.pause()


def test_when_paused_mid_motion_expect_a_ramp_without_a_backward_step():
    world = ArmWorld(robot=None).running()
    world.step()
    world.answer(velocity_m_s=0.3)
    world.step(15)
    world.arm.pause()
    assert world.arm.steps == 3
    count = len(world.commands)
    world.step(60)
    after = world.positions()[count - 1 :, 0]
    direction = np.sign(after[-1] - world.robot.home[0])
    assert (np.diff(after) * direction >= -1e-12).all()
    assert world.arm.at_rest
    assert [command.actor for _, command in world.commands[count:]] == [Actor.HOLD] * len(world.commands[count:])
    world.assert_within_limits()


def test_when_the_arm_holds_after_a_chunk_expect_it_to_stop_at_the_last_target_and_not_past_it():
    robot = panda()
    gentle = replace(robot, limits=replace(robot.limits, acceleration=np.full(7, 8.0)))
    world = ArmWorld(gentle, space="joint").running()
    world.step()
    chunk = world.answer(velocity_m_s=0.5)
    world.step(70)
    target = gentle.home[0] + chunk.actions[7, 0]
    assert world.positions()[:, 0].max() <= target + 1e-3
    np.testing.assert_allclose(world.joints[0], target, atol=5e-3)
    world.assert_within_limits()


def test_when_resumed_before_the_hold_ramp_has_ended_expect_it_to_end_first():
    robot = panda()
    gentle = replace(robot, limits=replace(robot.limits, acceleration=np.full(7, 8.0)))
    world = ArmWorld(gentle, space="joint").running()
    world.step()
    world.answer(velocity_m_s=0.6)
    world.step(20)
    world.arm.pause()
    world.step(2)
    world.keep(world.arm.resume(world.now, episode=0, seed=1, max_steps=0, not_before_ns=0))
    world.step(1)
    world.play()
    assert world.executed[-1].actor is Actor.POLICY
    world.assert_within_limits()


# ---- bad chunks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e38])
def test_when_one_element_is_garbage_expect_the_whole_chunk_refused_and_hold(bad):
    world = ArmWorld().running()
    world.step()
    chunk = world.chunk()
    actions = chunk.actions.copy()
    actions[7, 2] = bad
    world.keep(world.arm.on_chunk(replace(chunk, actions=actions), world.now))
    reason = "LIMIT_EXCEEDED" if bad == 1e38 else "NOT_FINITE"
    assert world.status == ("HOLDING", reason)
    world.step(10)
    np.testing.assert_array_equal(world.positions() - world.robot.home, 0.0)
    assert len(world.requests) == 2
    world.play()
    assert world.status == ("RUNNING", reason) or world.status == ("RUNNING", "NONE")


def test_when_three_chunks_in_a_row_are_garbage_expect_stopped():
    world = ArmWorld().running()
    for _ in range(3):
        world.step()
        chunk = world.chunk()
        world.keep(world.arm.on_chunk(replace(chunk, actions=chunk.actions * np.nan), world.now))
    assert world.status == ("STOPPED", "NOT_FINITE")


def test_when_a_subnormal_is_in_a_chunk_expect_it_played():
    world = ArmWorld().running()
    world.step()
    chunk = world.chunk()
    actions = chunk.actions.copy()
    actions[:, 0] = 5e-324
    world.keep(world.arm.on_chunk(replace(chunk, actions=actions), world.now))
    world.step(20)
    assert world.status == ("RUNNING", "NONE")


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"contract_hash": "other"}, Reason.CONTRACT_MISMATCH, "contract_hash"),
        ({"action_names": ("a",) * 7}, Reason.CONTRACT_MISMATCH, "action_names"),
        ({"space": "joint"}, Reason.CONTRACT_MISMATCH, "space"),
        ({"dt_s": 0.1}, Reason.CONTRACT_MISMATCH, "dt_s"),
        ({"actions": np.zeros((3, 7))}, Reason.CONTRACT_MISMATCH, "shape"),
        ({"valid_for_s": 0.0}, Reason.BAD_MESSAGE, "valid_for_s"),
        ({"execute_steps": 0}, Reason.BAD_MESSAGE, "execute_steps"),
        ({"reference": np.ones(7)}, Reason.BAD_MESSAGE, "reference"),
        ({"reference": np.full(7, np.nan)}, Reason.NOT_FINITE, "reference"),
    ],
)
def test_when_a_chunk_does_not_fit_expect_refusal_that_names_the_field(change, reason, field):
    world = ArmWorld().running()
    world.step()
    world.answer(**change)
    _, told, detail = world.arm.status
    assert told is reason and field in detail
    world.step(5)
    np.testing.assert_array_equal(world.positions() - world.robot.home, 0.0)


def test_when_a_step_leads_too_far_expect_it_refused_before_it_begins():
    world = ArmWorld().running()
    world.step()
    world.answer(velocity_m_s=20.0)
    world.step(5)
    assert world.status[0] == "HOLDING" and world.counters["limit_refused"] == 1
    np.testing.assert_array_equal(world.positions() - world.robot.home, 0.0)
    assert world.requests[-1].stamp.sequence == 1


def test_when_the_target_is_a_little_too_fast_expect_it_clamped_and_counted():
    world = ArmWorld().running()
    world.play(velocity_m_s=1.6)
    assert world.counters["limit_clamped"] > 0
    assert any(done.limited for done in world.executed)
    world.assert_within_limits()


def test_when_a_second_source_sends_valid_chunks_expect_refusal_by_name():
    world = ArmWorld().running()
    world.play()
    world.answer(source="/rogue")
    _, reason, detail = world.arm.status
    assert reason is Reason.SECOND_SOURCE and "/rogue" in detail
    assert world.counters["second_source"] == 1
    world.play()
    assert world.status[0] == "RUNNING"


@pytest.mark.parametrize("age_s", [3600.0, -3600.0])
def test_when_the_observation_is_from_another_hour_expect_it_refused(age_s):
    world = ArmWorld().running()
    world.step()
    chunk = world.chunk()
    stamp = replace(chunk.stamp, observation_ns=world.ros_ns - int(age_s * 1e9))
    world.keep(world.arm.on_chunk(replace(chunk, stamp=stamp), world.now))
    world.step(10)
    assert world.arm.status[1] is Reason.STALE_OBSERVATION
    np.testing.assert_array_equal(world.positions() - world.robot.home, 0.0)


# ---- asynchronous ----------------------------------------------------------------------------------------------------


def run_async(world: ArmWorld, latency_ticks: int, ticks: int) -> None:
    """The policy sees at the moment of asking and answers later."""
    due: list[tuple[int, object]] = []
    seen = 0
    for tick in range(ticks):
        world.step()
        acts = [request for request in world.requests if request.kind is RequestKind.ACT]
        if len(acts) > seen:
            seen = len(acts)
            due.append((tick + latency_ticks, world.chunk(acts[-1], velocity_m_s=0.1)))
        while due and due[0][0] <= tick:
            world.keep(world.arm.on_chunk(due.pop(0)[1], world.now))


def test_when_asynchronous_and_faster_than_the_chunk_expect_no_gap_and_no_underrun():
    world = ArmWorld(execution=Execution.ASYNC).running()
    run_async(world, latency_ticks=20, ticks=400)
    y = [world.kinematics.fk(q).position[1] for q in world.positions()]
    moving = np.diff(np.array(y)[30:]) / 0.01
    assert (moving > 0.02).all()
    assert world.counters["underruns"] == 0
    assert max(request.delay_steps for request in world.requests) >= 4
    committed = [request for request in world.requests if request.delay_steps]
    assert all(request.committed.shape == (request.delay_steps, 7) for request in committed[1:])
    world.assert_within_limits()


def test_when_chunks_go_on_from_the_old_one_expect_all_that_is_left_of_it_in_the_request():
    world = ArmWorld(execution=Execution.RTC).running()
    run_async(world, latency_ticks=20, ticks=400)
    ahead = [request for request in world.requests if request.delay_steps][1:]
    assert ahead and all(len(request.committed) > request.delay_steps for request in ahead)
    assert all(np.isfinite(request.committed_reference).all() for request in ahead)
    assert world.counters["underruns"] == 0
    world.assert_within_limits()


def test_when_asynchronous_and_late_expect_skipped_steps():
    world = ArmWorld(execution=Execution.ASYNC).running()
    run_async(world, latency_ticks=20, ticks=200)
    starts = [
        done.step for done, old in zip(world.executed[1:], world.executed, strict=False) if done.stamp != old.stamp
    ]
    assert starts and all(4 <= step <= 6 for step in starts)


def test_when_asynchronous_and_slower_than_the_chunk_expect_underrun_and_a_fresh_request():
    world = ArmWorld(execution=Execution.ASYNC).running()
    run_async(world, latency_ticks=130, ticks=700)
    assert world.counters["underruns"] >= 1
    world.assert_within_limits()


# ---- joint space and looks -------------------------------------------------------------------------------------------


def test_when_the_policy_speaks_joints_expect_the_joints_it_wants():
    world = ArmWorld(space="joint").running()
    world.play(velocity_m_s=0.4)
    np.testing.assert_allclose(world.joints[0] - world.robot.home[0], 8 * 0.4 * DT_S, atol=5e-3)
    np.testing.assert_allclose(world.executed[-1].action[0], 8 * 0.4 * DT_S, atol=5e-3)


def test_when_looks_are_wanted_expect_them_between_and_the_same_noise_for_acts():
    plain, looking = ArmWorld().running(), ArmWorld(query_stride=2).running()
    plain.play(2)
    looking.play(2)
    looks = [request for request in looking.requests if request.kind is RequestKind.QUERY_ONLY]
    assert [look.stamp.sequence for look in looks] == [QUERY_SEQUENCE + k for k in range(6)]
    acts = [request.stamp.sequence for request in looking.requests if request.kind is RequestKind.ACT]
    assert acts == [request.stamp.sequence for request in plain.requests] == [0, 1, 2]


# ---- what would the policy do ----------------------------------------------------------------------------------------


def test_when_the_policy_is_asked_while_no_episode_runs_expect_a_trial_with_the_numbers_and_no_motion():
    world = ArmWorld().running()
    world.play()
    world.arm.pause(detail="look")
    world.step(50)
    position, answered = world.positions()[-1], len(world.commands)
    (request,) = world.arm.query(world.now, seed=9, n_candidates=3, edit_scale=0.25).requests
    assert (request.kind, request.seed, request.n_candidates, request.edit_scale) == (RequestKind.TRIAL, 9, 3, 0.25)
    assert request.stamp.request_id > world.asked().stamp.request_id
    chunk = world.chunk(request)
    world.keep(world.arm.on_chunk(chunk, world.now))
    world.step(50)
    assert all(command.actor is Actor.HOLD for _, command in world.commands[answered:])
    np.testing.assert_array_equal(world.positions()[-1], position)


def test_when_the_policy_is_asked_in_an_episode_or_without_one_to_ask_expect_refusal_in_words():
    usual = {"seed": 0, "n_candidates": 0, "edit_scale": -1.0}
    world = ArmWorld()
    with pytest.raises(Refused, match="no policy_contract yet"):
        world.arm.query(world.now, **usual)
    world.running()
    with pytest.raises(Refused, match="an episode runs"):
        world.arm.query(world.now, **usual)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("n_candidates", 65, "n_candidates is 65, allowed: 0..64"),
        ("edit_scale", 1.5, "edit_scale is 1.5, allowed: 0..1"),
        ("edit_scale", float("nan"), "edit_scale is nan"),
    ],
)
def test_when_a_trial_wants_more_than_there_is_expect_the_range(name, value, words):
    world = ArmWorld()
    world.arm.on_contract(world.contract)
    with pytest.raises(Refused, match=words):
        world.arm.query(world.now, **({"seed": 0, "n_candidates": 0, "edit_scale": -1.0} | {name: value}))
