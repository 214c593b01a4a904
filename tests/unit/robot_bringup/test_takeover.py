# SPDX-License-Identifier: Apache-2.0
"""Who drives, and when the person is lost."""

from __future__ import annotations

import numpy as np

from fakes.arm_world import kinematics_of, panda
from robot_bringup.core.takeover import Drive, Hand, Heard, Takeover, TakeoverSample, wanted_pose

ROBOT = panda()
TIMEOUT_S, STUCK_S = 0.2, 1.0


def sample(
    sequence: int, *, engaged: bool = True, x: float = 0.01, source: str = "/a", epoch: int = 5
) -> TakeoverSample:
    return TakeoverSample(
        source, epoch, sequence, engaged, Drive.VELOCITY, np.array([x, 0, 0, 0, 0, 0.0]), np.zeros(7), float("nan")
    )


def test_when_engaged_released_and_engaged_expect_it_told():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    assert takeover.hear(sample(1), 0.0) is Heard.ENGAGED
    assert takeover.hear(sample(2), 0.05) is Heard.DRIVING
    assert takeover.hear(sample(3, engaged=False), 0.1) is Heard.RELEASED
    assert takeover.hear(sample(4, engaged=False), 0.1) is Heard.IGNORED
    assert takeover.hear(sample(5), 0.2) is Heard.ENGAGED


def test_when_messages_are_old_or_doubled_expect_them_ignored():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    takeover.hear(sample(5), 0.0)
    assert takeover.hear(sample(5), 0.0) is Heard.IGNORED
    assert takeover.hear(sample(4, engaged=False), 0.0) is Heard.IGNORED
    assert takeover.hear(sample(9, epoch=4), 0.0) is Heard.IGNORED


def test_when_silent_while_engaged_expect_lost_until_release_and_new_engage():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    takeover.hear(sample(1), 0.0)
    assert takeover.lost(0.15) == ""
    assert "silent" in takeover.lost(0.25)
    assert takeover.lost(0.3) == ""
    assert takeover.hear(sample(2), 0.4) is Heard.IGNORED and takeover.hand is Hand.LOST
    takeover.hear(sample(3, engaged=False), 0.5)
    assert takeover.hear(sample(4), 0.6) is Heard.ENGAGED


def test_when_a_velocity_never_changes_expect_a_stuck_axis_and_standing_still_is_none():
    for x, stuck in ((0.01, True), (0.0, False)):
        takeover = Takeover(TIMEOUT_S, STUCK_S)
        found = ""
        for k in range(60):
            takeover.hear(sample(k + 1, x=x), k * 0.05)
            found = found or takeover.lost(k * 0.05)
        assert ("stuck" in found) is stuck


def test_when_another_name_or_process_speaks_while_one_drives_expect_second_source():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    takeover.hear(sample(1), 0.0)
    assert takeover.hear(sample(2, source="/b"), 0.0) is Heard.SECOND_SOURCE
    assert takeover.hear(sample(1, epoch=6), 0.0) is Heard.SECOND_SOURCE
    takeover.lost(1.0)
    takeover.hear(sample(1, epoch=6, engaged=False), 1.1)
    assert takeover.hear(sample(2, epoch=6), 1.2) is Heard.ENGAGED


def test_when_the_arm_was_stopped_expect_who_drives_to_let_go_first():
    takeover = Takeover(TIMEOUT_S, STUCK_S)
    takeover.hear(sample(1), 0.0)
    takeover.drop()
    assert takeover.hear(sample(2), 0.01) is Heard.IGNORED


def test_when_a_far_target_is_wanted_expect_no_more_than_the_limits_for_a_person():
    kinematics = kinematics_of(ROBOT)
    here = kinematics.fk(ROBOT.home)
    far = TakeoverSample(
        "/a", 1, 1, True, Drive.TCP_TARGET, np.zeros(6), np.array([5.0, 0, 0, 0, 0, 0, 1.0]), float("nan")
    )
    pose = wanted_pose(far, here, 0.05, ROBOT.limits)
    assert pose.distance_m(here) <= ROBOT.limits.tcp_velocity_m_s * 0.05 + 1e-9
    assert pose.angle_rad(here) <= ROBOT.limits.tcp_rotation_rad_s * 0.05 + 1e-9
