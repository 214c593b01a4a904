# SPDX-License-Identifier: Apache-2.0
"""Who drives, and when the person is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fakes.arm_world import kinematics_of, panda
from robot_bringup.core.takeover import DeadmanState, InputResult, Takeover, TakeoverMode, TakeoverSample, wanted_pose

ROBOT = panda()
TIMEOUT_S, STUCK_S = 0.2, 1.0


def sample(
    sequence: int, *, engaged: bool = True, x: float = 0.01, source: str = "/a", epoch: int = 5
) -> TakeoverSample:
    return TakeoverSample(
        source,
        epoch,
        sequence,
        engaged,
        TakeoverMode.VELOCITY,
        np.array([x, 0, 0, 0, 0, 0.0]),
        np.zeros(7),
        float("nan"),
    )


def test_when_engaged_released_and_engaged_expect_it_told():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    assert takeover.update(sample(1), 0.0) is InputResult.ENGAGED
    assert takeover.update(sample(2), 0.05) is InputResult.DRIVING
    assert takeover.update(sample(3, engaged=False), 0.1) is InputResult.RELEASED
    assert takeover.update(sample(4, engaged=False), 0.1) is InputResult.IGNORED
    assert takeover.update(sample(5), 0.2) is InputResult.ENGAGED


def test_when_messages_are_old_or_doubled_expect_them_ignored():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    takeover.update(sample(5), 0.0)
    assert takeover.update(sample(5), 0.0) is InputResult.OLD
    assert takeover.update(sample(4, engaged=False), 0.0) is InputResult.OLD
    # A process that was never heard of is another one, whatever its number.
    assert takeover.update(sample(9, epoch=4), 0.0) is InputResult.SECOND_SOURCE


@pytest.mark.parametrize("epoch", [1, 9], ids=["clock went back", "clock went on"])
def test_when_the_device_is_started_again_expect_it_to_drive_whatever_its_number_and_the_old_one_ignored(epoch: int):
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    takeover.update(sample(5), 0.0)
    takeover.update(sample(6, engaged=False), 0.1)
    assert takeover.update(sample(1, epoch=epoch), 0.2) is InputResult.OLD
    assert takeover.update(sample(2, epoch=epoch), 1.2) is InputResult.ENGAGED
    assert takeover.update(sample(6), 9.0) is InputResult.OLD
    assert takeover.update(sample(7), 9.0) is InputResult.SECOND_SOURCE


def test_when_silent_while_engaged_expect_lost_until_release_and_new_engage():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    takeover.update(sample(1), 0.0)
    assert takeover.lost(0.15) == ""
    assert "silent" in takeover.lost(0.25)
    assert takeover.lost(0.3) == ""
    assert takeover.update(sample(2), 0.4) is InputResult.IGNORED and takeover.deadman is DeadmanState.LOST
    takeover.update(sample(3, engaged=False), 0.5)
    assert takeover.update(sample(4), 0.6) is InputResult.ENGAGED


def test_when_a_driver_s_messages_are_refused_expect_the_person_lost_for_that_reason_and_not_for_silence():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    takeover.update(sample(1), 0.0)
    for k in range(2, 6):
        assert takeover.update(replace(sample(k), opening=50.0), 0.05 * k) is InputResult.BAD
    why = takeover.lost(0.25)
    assert "/a refused for 0.25 s" in why and "gripper is 50" in why and "silent" not in why


def test_when_a_velocity_never_changes_expect_a_stuck_axis_and_standing_still_is_none():
    for x, stuck in ((0.01, True), (0.0, False)):
        takeover = Takeover(TIMEOUT_S, STUCK_S)
        found = ""
        for k in range(60):
            takeover.update(sample(k + 1, x=x), k * 0.05)
            found = found or takeover.lost(k * 0.05)
        assert ("stuck" in found) is stuck


def test_when_another_name_or_process_speaks_while_one_drives_expect_second_source():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    takeover.update(sample(1), 0.0)
    assert takeover.update(sample(2, source="/b"), 0.0) is InputResult.SECOND_SOURCE
    assert takeover.update(sample(1, epoch=6), 0.0) is InputResult.SECOND_SOURCE
    takeover.lost(1.0)
    takeover.update(sample(1, epoch=6, engaged=False), 1.1)
    assert takeover.update(sample(2, epoch=6), 1.2) is InputResult.ENGAGED


def test_when_a_device_has_let_go_and_is_silent_expect_the_next_one_taken_after_a_while():
    takeover = Takeover(TIMEOUT_S, STUCK_S, 2.0)
    takeover.update(sample(1), 0.0)
    takeover.update(sample(2, engaged=False), 1.0)
    assert takeover.update(sample(1, source="/b"), 2.9) is InputResult.SECOND_SOURCE
    assert takeover.update(sample(2, source="/b"), 3.1) is InputResult.ENGAGED
    assert takeover.update(sample(3), 3.2) is InputResult.SECOND_SOURCE


def test_when_a_device_that_has_let_go_still_speaks_expect_it_to_keep_its_place():
    takeover = Takeover(TIMEOUT_S, STUCK_S, 2.0)
    for k in range(100):
        takeover.update(sample(k + 1, engaged=False), 0.1 * k)
    assert takeover.update(sample(1, source="/b"), 10.0) is InputResult.SECOND_SOURCE


def test_when_a_device_vanishes_while_it_drives_expect_no_other_to_take_its_place():
    takeover = Takeover(TIMEOUT_S, STUCK_S, 2.0)
    takeover.update(sample(1), 0.0)
    assert "silent" in takeover.lost(1.0)
    assert takeover.update(sample(1, source="/b"), 60.0) is InputResult.SECOND_SOURCE


@pytest.mark.parametrize(("epoch", "sequence"), [(4, 1), (5, 1), (6, 1)])
def test_when_a_device_starts_anew_with_any_epoch_expect_it_taken_once_the_old_one_is_silent(epoch, sequence):
    takeover = Takeover(TIMEOUT_S, STUCK_S, 2.0)
    takeover.update(sample(50), 0.0)
    takeover.update(sample(51, engaged=False), 0.1)
    assert takeover.update(sample(sequence, epoch=epoch), 3.0) is InputResult.ENGAGED
    takeover.lost(4.0)
    takeover.update(sample(sequence, epoch=epoch - 1, engaged=False), 9.0)
    assert takeover.update(sample(sequence + 1, epoch=epoch - 1), 9.1) is InputResult.ENGAGED


TARGET = [0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"opening": float("inf")}, "gripper is inf, expected an opening of 0 to 1"),
        ({"opening": -float("inf")}, "gripper is -inf"),
        ({"opening": 50.0}, "gripper is 50"),
        ({"opening": -3.0}, "gripper is -3"),
        ({"opening": 50.0, "drive": TakeoverMode.TCP_TARGET, "tcp_target": np.array(TARGET)}, "gripper is 50"),
        ({"twist": np.array([0, float("nan"), 0, 0, 0, 0])}, "is not finite"),
        ({"twist": np.array([0, 0, 1e9, 0, 0, 0])}, "is beyond 10 m/s or 50 rad/s"),
        ({"twist": np.array([0, 0, 0, 0, -51.0, 0])}, "is beyond 10 m/s or 50 rad/s"),
        ({"drive": TakeoverMode.TCP_TARGET, "tcp_target": np.zeros(7)}, "tcp_target: the quaternion"),
        (
            {"drive": TakeoverMode.TCP_TARGET, "tcp_target": np.array([1e9, *TARGET[1:]])},
            "further than 10 m from the base",
        ),
        (
            {"drive": TakeoverMode.TCP_TARGET, "tcp_target": np.full(7, float("nan"))},
            "tcp_target: a pose needs 7 finite",
        ),
        ({"source": ""}, "source is empty"),
    ],
)
def test_when_a_number_makes_no_sense_expect_refusal_and_a_release_all_the_same(changes, words):
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    bad = replace(sample(1), **changes)
    assert words in bad.problem()
    assert takeover.update(bad, 0.0) is InputResult.BAD and takeover.deadman is DeadmanState.OFF
    takeover.update(sample(2), 0.1)
    released = replace(bad, engaged=False, sequence=3, source="/a")
    assert takeover.update(released, 0.2) is InputResult.RELEASED


@pytest.mark.parametrize("opening", [float("nan"), 0.0, 0.5, 1.0, 1.004, -0.004])
def test_when_an_opening_is_measured_a_little_beyond_its_ends_expect_it_taken(opening):
    assert replace(sample(1), opening=opening).problem() == ""


def test_when_the_arm_was_stopped_expect_who_drives_to_let_go_first():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    takeover.update(sample(1), 0.0)
    takeover.drop()
    assert takeover.update(sample(2), 0.01) is InputResult.IGNORED


def test_when_a_far_target_is_wanted_expect_no_more_than_the_limits_for_a_person():
    kinematics = kinematics_of(ROBOT)
    here = kinematics.fk(ROBOT.home)
    far = TakeoverSample(
        "/a", 1, 1, True, TakeoverMode.TCP_TARGET, np.zeros(6), np.array([5.0, 0, 0, 0, 0, 0, 1.0]), float("nan")
    )
    pose = wanted_pose(far, here, 0.05, ROBOT.limits)
    assert pose.distance_m(here) <= ROBOT.limits.tcp_velocity_m_s * 0.05 + 1e-9
    assert pose.angle_rad(here) <= ROBOT.limits.tcp_rotation_rad_s * 0.05 + 1e-9
