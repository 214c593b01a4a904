# SPDX-License-Identifier: Apache-2.0
"""Rows 85 and 86: joint states of several drivers on one topic, and what is said when they are not what is needed."""

from __future__ import annotations

import numpy as np
import pytest

from fakes.arm_world import ArmWorld
from robot_bringup.core.state_machine import Refused
from whetstone_common.core.reason import Reason
from whetstone_common.core.sources import Source

GRIPPER = "panda_gripper"


class SplitWorld(ArmWorld):
    """Arm and gripper have a driver each.

    Attributes:
        groups: Arm joints that one message holds, for each message.
        frozen: Joints whose driver repeats its first positions under fresh stamps.
        gripper_alive: Whether the gripper's driver publishes.
        gripper_reads: Its position, None for the true one.
    """

    def __init__(self, **settings: object) -> None:
        """Start with one message for the arm and one for the gripper."""
        super().__init__(**settings)
        self.groups = [list(self.robot.joints)]
        self.frozen: set[str] = set()
        self.gripper_alive = True
        self.gripper_reads: float | None = None

    def show_joints(self):
        measured = dict(zip(self.robot.joints, self.joints, strict=True))
        home = dict(zip(self.robot.joints, self.robot.home, strict=True))
        for names in self.groups:
            self.say_joints(names, [home[n] if n in self.frozen else measured[n] for n in names])
        if self.gripper_alive:
            reading = self.opening if self.gripper_reads is None else self.gripper_reads
            self.say_joints([GRIPPER], [reading])


def test_when_joint_states_come_in_parts_expect_the_arm_to_play():
    world = SplitWorld().running()
    world.play(2)
    assert world.status == ("RUNNING", "NONE") and len(world.executed) == 16
    world.assert_within_limits()


def test_when_the_gripper_never_comes_expect_arming_refused_with_its_name_and_who_publishes_what():
    world = SplitWorld()
    world.arm.on_contract(world.contract)
    world.gripper_alive = False
    for _ in range(1000):
        world.step()
    world.say_joints(["finger_joint"], [0.0], source=Source("g", "/gripper_driver"))
    with pytest.raises(
        Refused, match="panda_gripper missing on /joint_states: .*/gripper_driver publishes finger_joint"
    ):
        world.arm.arm("", world.now)
    world.arm.watch(world.now)
    assert "panda_gripper missing" in world.arm.status[2] and "ceased" not in world.arm.status[2]


def test_when_every_message_was_refused_expect_the_refusal_and_not_the_silence():
    world = ArmWorld()
    world.arm.on_contract(world.contract)
    for _ in range(1000):
        world.step()
        world.say_joints(world.robot.contract_joints, [float("nan")] * 8, stamp_ns=world.ros_ns + 1)
        world.joints_alive = False
    with pytest.raises(Refused, match="panda_joint1 is nan"):
        world.arm.arm("", world.now)
    assert world.counters["joint_state_refused"] == 1000


def test_when_the_gripper_falls_silent_under_motion_expect_stopped_with_its_name():
    world = SplitWorld().running()
    world.play()
    world.gripper_alive = False
    world.step(30)
    state, reason, detail = world.arm.status
    assert (state.name, reason) == ("STOPPED", Reason.JOINT_STATE_LOST)
    assert detail.startswith("panda_gripper on /joint_states silent for 0.2")


def test_when_the_gripper_becomes_nan_under_motion_expect_stopped_with_that_reason():
    world = SplitWorld().running()
    world.play()
    world.gripper_reads = float("nan")
    world.step(30)
    _, reason, detail = world.arm.status
    assert reason is Reason.NOT_FINITE and "panda_gripper is nan" in detail


@pytest.mark.parametrize("frozen", ["panda_joint1", "panda_joint7"])
def test_when_one_of_two_arm_drivers_freezes_expect_its_joints_named(frozen):
    world = SplitWorld(space="joint").running()
    world.groups = [list(world.robot.joints[:1]), list(world.robot.joints[1:])]
    group = next(names for names in world.groups if frozen in names)
    world.frozen = set(group)
    everything = np.zeros((16, 8))
    everything[:, :7] = 0.02 * np.arange(1, 17)[:, None]
    everything[:, 7] = 1.0
    for _ in range(3):
        world.step()
        world.answer(actions=everything)
        world.step(47)
    state, reason, detail = world.arm.status
    assert (state.name, reason) == ("STOPPED", Reason.FROZEN_SOURCE)
    assert all(name in detail for name in group) and len(group) == detail.count("panda_joint")


def test_when_a_second_driver_publishes_the_same_joints_expect_stopped_with_both_names_and_no_arming():
    world = ArmWorld().running()
    names, home = world.robot.contract_joints, [*world.robot.home.tolist(), 1.0]
    one, two = Source("1", "/arm_driver"), Source("2", "/joint_state_publisher")
    world.joints_alive = False
    world.say_joints(names, home, source=one)
    world.say_joints(names, [0.5 * value for value in home], source=two)
    world.step()
    assert world.status[0] == "RUNNING" and world.counters["second_source"] == 1
    world.say_joints(names, home, source=one)
    world.step()
    state, reason, detail = world.arm.status
    assert (state.name, reason) == ("STOPPED", Reason.SECOND_SOURCE)
    assert "/arm_driver and /joint_state_publisher" in detail
    np.testing.assert_allclose(world.positions()[-1], world.robot.home, atol=1e-3)
    world.arm.reset()
    world.arm.disarm("")
    with pytest.raises(Refused, match="/arm_driver and /joint_state_publisher"):
        world.arm.arm("", world.now)


# ---- clocks --------------------------------------------------------------------------------------------------------


def test_when_the_driver_goes_over_to_another_clock_under_motion_expect_stopped_with_that_reason():
    world = ArmWorld().running()
    world.play()
    world.joints_alive = False
    names, home = world.robot.contract_joints, [*world.robot.home.tolist(), 1.0]
    for k in range(30):
        world.step()
        world.say_joints(names, home, stamp_ns=(k + 1) * 10_000_000)
    state, reason, detail = world.arm.status
    assert (state.name, reason) == ("STOPPED", Reason.OTHER_CLOCK)
    assert "stamps are 1e+03 s behind this node's clock" in detail


def test_when_the_world_waits_expect_the_stamps_themselves_to_be_the_time():
    world = ArmWorld(lockstep=True, joint_timeout_s=20.0, takeover_timeout_s=20.0)
    world.arm.on_contract(world.contract)
    world.say_joints(world.robot.contract_joints, [*world.robot.home.tolist(), 1.0], stamp_ns=5)
    world.arm.arm("", world.now)
