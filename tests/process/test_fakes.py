# SPDX-License-Identifier: Apache-2.0
"""The fakes and the relay do what they are told, before anything leans on them."""

from __future__ import annotations

from pathlib import Path

from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from vla_interfaces.msg import ActionChunk, Request

from fakes.fake_arm import HOME, JOINTS
from harness.armlog import LogTail, drive_command, read_lines
from harness.schedule import Fault, dump_faults
from harness.until import until
from harness.world import World


def positions(message: JointState) -> dict[str, float]:
    """By name."""
    return dict(zip(message.name, message.position, strict=True))


def test_when_arm_is_commanded_expect_motion_log_and_drive_timeout(world: World, tmp_path: Path) -> None:
    log = tmp_path / "drive.jsonl"
    world.fake("fake_arm", parameters={"log": str(log)})
    states = world.watcher.listen(JointState, "joint_states")
    world.wait_ready("fake_arm")
    target = [value + 0.01 for value in HOME]
    command = JointTrajectory(joint_names=JOINTS, points=[JointTrajectoryPoint(positions=target)])
    world.watcher.say(command, "arm_controller/joint_trajectory")
    until(lambda: states and abs(positions(states[-1][1])["panda_joint1"] - 0.01) < 1e-6, 10.0, "arm arrives")
    until(lambda: any(line["event"] == "timeout" for line in read_lines(log)), 10.0, "drive time-out")
    assert LogTail(log, drive_command).read()[0].values == tuple(target[:7])

    world.watcher.tell("fake_arm", nan_joint=2, shuffle=True)
    until(lambda: positions(states[-1][1])["panda_joint3"] != positions(states[-1][1])["panda_joint3"], 5.0, "NaN")
    assert states[-1][1].name[0] == "panda_gripper"
    world.watcher.tell("fake_arm", nan_joint=-1, push=[0.3] + [0.0] * 7)
    until(lambda: abs(positions(states[-1][1])["panda_joint1"] - 0.31) < 1e-6, 5.0, "pushed")


def test_when_relay_is_told_expect_harm_and_afterwards_none(world: World) -> None:
    world.fake("fake_camera", remap={"image_raw": "image_in"}, parameters={"rate_hz": 50.0, "size_px": 8})
    world.fake("fault_relay", parameters={"topic": "image", "type": "sensor_msgs/msg/Image"})
    seen = world.watcher.listen(Image, "image")
    world.wait_ready("fake_camera", "fault_relay")
    until(lambda: len(seen) > 5, 10.0, "images pass")
    assert bytes(seen[-1][1].data) != bytes(seen[-2][1].data)

    world.watcher.tell(
        "fault_relay", faults=dump_faults([Fault("freeze"), Fault("set", field="encoding", value='"x"')])
    )
    until(lambda: seen[-1][1].encoding == "x" and seen[-2][1].encoding == "x", 5.0, "harmed")
    assert bytes(seen[-1][1].data) == bytes(seen[-2][1].data)
    assert seen[-1][1].header.stamp != seen[-2][1].header.stamp

    world.watcher.tell("fault_relay", faults=dump_faults([Fault("drop")]))
    world.watcher.tell("fault_relay", faults="[]")
    before = len(seen)
    until(lambda: len(seen) > before + 2 and seen[-1][1].encoding == "rgb8", 5.0, "healed")


def test_when_policy_is_asked_expect_a_chunk_for_that_request(world: World) -> None:
    world.fake("fake_arm")
    world.fake("fake_policy", parameters={"delays_s": [0.0, 0.2]})
    chunks = world.watcher.listen(ActionChunk, "action_chunk")
    states = world.watcher.listen(JointState, "joint_states")
    world.wait_ready("fake_arm", "fake_policy")
    until(lambda: len(states) > 20, 10.0, "joint states")
    for number in (1, 2):
        request = Request(kind=Request.ACT)
        request.stamp.request_id = number
        asked_ns = world.watcher.say(request, "request")
        until(lambda number=number: len(chunks) == number, 10.0, "answer")
        assert chunks[-1][1].stamp.request_id == number
    assert (chunks[1][0] - asked_ns) / 1e9 > 0.19
