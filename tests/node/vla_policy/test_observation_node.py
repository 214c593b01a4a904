# SPDX-License-Identifier: Apache-2.0
"""The observation node: what it answers with, and what it refuses and why."""

from __future__ import annotations

import time
from array import array
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from ament_index_python.packages import get_package_share_directory
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from vla_interfaces.msg import Observation, PolicyContract

from harness.rig import Rig
from harness.ring import ARM, HOME, JOINTS, Surroundings, contract, image, joint_state, request
from vla_policy.nodes.observation_node import ObservationNode
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract, to_ns, to_time

MS = 1_000_000
S = 1000 * MS


class Observed:
    """An observation_node with its surroundings, and what it publishes."""

    def __init__(self, rig: Rig, *, introduced: bool = True, **parameters: Any) -> None:
        self.rig = rig
        self.answers = rig.hear("observation", Observation)
        # A loaded machine may take long between a tick and the request; age has tests of its own.
        self.node = rig.add(ObservationNode, **({"reliable_images": True, "obs_max_age_s": 15.0} | parameters))
        self.around = Surroundings(rig)
        if introduced:
            self.around.introduce()
            rig.until(lambda: self.node._contract and self.node._instruction, what="words and contract")

    def settle(self, what: Any) -> None:
        """Wait until the node has seen something."""
        self.rig.until(what, what=f"the node has seen it; {self.node.counters}")

    def counted(self, name: str, count: int = 1) -> None:
        """Wait for a counter."""
        self.settle(lambda: self.node.counters[name] >= count)

    def answer(self, number: int, **fields: Any) -> Observation:
        """Ask, and wait for the answer."""
        before = len(self.answers)
        self.around.ask(request(number, **fields))
        self.rig.until(lambda: len(self.answers) > before, what=f"answer {number}; {self.node.status}")
        return self.answers[-1]

    def no_answer(self, number: int, **fields: Any) -> tuple[Reason, str]:
        """Ask, and wait until the request is given up."""
        before, given_up = len(self.answers), self.node.counters["request_unanswered"]
        self.around.ask(request(number, **({"deadline_s": 0.3} | fields)))
        self.rig.until(lambda: self.node.counters["request_unanswered"] > given_up, what="the request is given up")
        assert len(self.answers) == before
        return self.node.status[1], self.node.status[2]


def test_when_asked_expect_one_observation_of_the_policys_size(rig: Rig) -> None:
    observed = Observed(rig)
    stamp_ns = observed.around.tick()
    answer = observed.answer(1)
    assert list(answer.cameras) == ["front", "wrist"]
    assert all((part.height, part.width, part.encoding, part.step) == (96, 96, "rgb8", 288) for part in answer.images)
    assert to_ns(answer.stamp.observation) == stamp_ns and answer.image_skew_s == 0.0
    assert answer.instruction.startswith("put the red") and len(answer.proprio) == 10
    assert np.allclose(answer.joint_positions, HOME) and np.allclose(answer.proprio[:3], answer.tcp_pose[:3])
    rig.turn(0.2)
    assert len(observed.answers) == 1


def test_when_images_are_larger_expect_them_brought_to_the_policys_size(rig: Rig) -> None:
    observed = Observed(rig)
    stamp_ns = time.time_ns()
    for publish in observed.around.cameras.values():
        publish(image(stamp_ns, size=224))
    observed.around.joints(joint_state(stamp_ns))
    assert all((part.height, part.width) == (96, 96) for part in observed.answer(1).images)


def test_when_nothing_is_new_enough_expect_the_answer_only_once_it_is(rig: Rig) -> None:
    observed = Observed(rig)
    old_ns = observed.around.tick()
    observed.around.ask(request(1, not_before_ns=old_ns + 1))
    rig.turn(0.2)
    assert not observed.answers
    new_ns = observed.around.tick()
    rig.until(lambda: observed.answers, what="an answer")
    assert {to_ns(part.header.stamp) for part in observed.answers[0].images} == {new_ns}


def test_when_a_request_is_repeated_or_older_expect_no_second_answer(rig: Rig) -> None:
    observed = Observed(rig)
    observed.around.tick()
    observed.answer(3)
    for number in (3, 2):
        observed.around.ask(request(number))
    observed.counted("request_old", 2)
    assert len(observed.answers) == 1


def test_when_a_newer_request_comes_before_the_answer_expect_only_the_newer_answered(rig: Rig) -> None:
    observed = Observed(rig)
    for number in (1, 2):
        observed.around.ask(request(number, deadline_s=20.0))
    observed.counted("request_superseded")
    observed.around.tick()
    rig.until(lambda: observed.answers, what="an answer")
    rig.turn(0.2)
    assert [answer.stamp.request_id for answer in observed.answers] == [2]


@pytest.mark.parametrize("lost", ["front", "wrist", "joints"])
def test_when_a_stream_never_comes_expect_its_name(rig: Rig, lost: str) -> None:
    observed = Observed(rig)
    stamp_ns = time.time_ns()
    for name, publish in observed.around.cameras.items():
        if name != lost:
            publish(image(stamp_ns))
    if lost != "joints":
        observed.around.joints(joint_state(stamp_ns))
    reason, detail = observed.no_answer(1)
    assert reason == Reason.MISSING_STREAM and lost in detail


@pytest.mark.row(6)
def test_when_a_camera_falls_silent_expect_its_name_and_ready_again_when_it_returns(rig: Rig) -> None:
    observed = Observed(rig, obs_max_age_s=0.3)
    observed.around.tick()
    observed.answer(1)

    def only_front() -> bool:
        stamp_ns = time.time_ns()
        observed.around.cameras["front"](image(stamp_ns))
        observed.around.joints(joint_state(stamp_ns))
        return observed.node.status[1] == Reason.STALE_OBSERVATION and "wrist" in observed.node.status[2]

    rig.until(only_front, what="the silent camera is named")
    reason, _ = observed.no_answer(2, deadline_s=0.1)
    assert reason == Reason.STALE_OBSERVATION
    rig.until(lambda: observed.around.tick() and observed.node.status[0] == State.READY, what="READY again")


def test_when_there_are_no_words_expect_refusal_that_says_so(rig: Rig) -> None:
    observed = Observed(rig, introduced=False)
    observed.around.agree(from_contract(contract()))
    observed.around.tick()
    reason, detail = observed.no_answer(1)
    assert reason == Reason.MISSING_STREAM and "instruction" in detail


def test_when_the_words_change_expect_the_new_ones_in_the_next_answer(rig: Rig) -> None:
    observed = Observed(rig)
    observed.around.say(String(data="stack the red cube on the green cube"))
    observed.settle(lambda: observed.node._instruction.startswith("stack"))
    observed.around.tick()
    assert observed.answer(1).instruction == "stack the red cube on the green cube"


@pytest.mark.row(76)
@pytest.mark.parametrize("words", ["", "   ", "x" * 2000, "put it\ndown", "go \u202e on"])
def test_when_words_cannot_be_said_expect_no_answer_with_older_ones_and_why(rig: Rig, words: str) -> None:
    observed = Observed(rig)
    in_use = rig.hear("instruction_in_use", String, qos.LATCHED)
    observed.around.tick()
    observed.answer(1)
    observed.around.say(String(data=words))
    observed.counted("instruction_bad")
    _, _, detail = rig.until_status(observed.node, State.HOLDING, Reason.BAD_MESSAGE)
    assert detail.startswith("instruction refused: the instruction ")
    rig.turn(0.2)
    assert observed.node.status[:2] == (State.HOLDING, Reason.BAD_MESSAGE)
    observed.around.tick()
    assert observed.no_answer(2)[0] == Reason.BAD_MESSAGE and in_use[-1].data == ""
    observed.around.say(String(data=" stack it "))
    rig.until_status(observed.node, State.READY)
    observed.around.tick()
    assert observed.answer(3).instruction == "stack it" == in_use[-1].data


@pytest.mark.row(77)
def test_when_two_nodes_publish_the_words_expect_both_named(rig: Rig) -> None:
    observed = Observed(rig)
    other = Node("panel", context=rig.context)
    other.create_publisher(String, "instruction", qos.LATCHED)
    observed.around.tick()
    _, _, detail = rig.until_status(observed.node, State.READY, Reason.SECOND_SOURCE)
    assert "instruction has 2 publishers" in detail and "/panel, /probe" in detail
    other.destroy_node()
    rig.until_status(observed.node, State.READY, Reason.NONE)


@pytest.mark.row(21)
@pytest.mark.parametrize("changes", [{"cameras": ("front", "side")}, {"joint_names": tuple("abcdefgh")}])
def test_when_the_policy_wants_what_the_robot_has_not_expect_refusal_that_names_it(rig: Rig, changes: dict) -> None:
    from dataclasses import replace

    observed = Observed(rig, introduced=False)
    observed.around.agree(from_contract(replace(contract(), **changes)))
    _, _, detail = rig.until_status(observed.node, State.HOLDING, Reason.CONTRACT_MISMATCH)
    assert detail.startswith(next(iter(changes)))


# ---- row 13: stamps ------------------------------------------------------------------------------------------------


@pytest.mark.row(13)
@pytest.mark.parametrize(
    ("shift_ns", "kind"),
    [(3600 * S, "other_clock"), (2 * S, "future"), (-1 * S, ""), (-3600 * S, "other_clock"), (None, "zero")],
)
def test_when_stamps_cannot_be_expect_no_answer_and_a_count(rig: Rig, shift_ns: int | None, kind: str) -> None:
    observed = Observed(rig, obs_max_age_s=0.9)
    stamp_ns = 0 if shift_ns is None else time.time_ns() + shift_ns
    observed.around.cameras["front"](image(stamp_ns))
    observed.around.cameras["wrist"](image(time.time_ns()))
    observed.around.joints(joint_state(time.time_ns()))
    reason, detail = observed.no_answer(1)
    assert "front" in detail
    if kind:
        wanted = Reason.OTHER_CLOCK if kind == "other_clock" else Reason.BAD_MESSAGE
        assert observed.node.counters[f"front_{kind}"] == 1 and reason == wanted
    else:
        assert reason == Reason.STALE_OBSERVATION


# ---- row 14: frozen sources ----------------------------------------------------------------------------------------


@pytest.mark.row(14)
def test_when_a_camera_repeats_itself_while_the_arm_moves_expect_no_answer_until_it_changes(
    rig: Rig,
) -> None:
    observed = Observed(rig)
    observed.around.tick()
    observed.answer(1)

    def frozen_tick(number: int) -> None:
        stamp_ns = time.time_ns()
        observed.around.joints(joint_state(stamp_ns, (HOME[0] + 0.05 * number, *HOME[1:])))
        observed.settle(lambda: observed.node._observer._synchroniser.newest("joints").stamp_ns == stamp_ns)
        observed.around.cameras["front"](image(stamp_ns, fill=7))
        observed.around.cameras["wrist"](image(stamp_ns))
        observed.settle(lambda: observed.node._observer._synchroniser.newest("wrist").stamp_ns == stamp_ns)

    for number in range(6):
        frozen_tick(number)
    reason, detail = observed.no_answer(2)
    assert reason == Reason.FROZEN_SOURCE and "front" in detail and "identical" in detail
    observed.around.tick()
    observed.answer(3)
    assert observed.node.status[0] == State.READY


# ---- row 16: wrong images ------------------------------------------------------------------------------------------


def wrong(**fields: Any) -> Image:
    msg = image(time.time_ns())
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


@pytest.mark.row(16)
@pytest.mark.parametrize(
    "fields",
    [
        {"encoding": "mono16"},
        {"encoding": "bgra8"},
        {"encoding": "16UC1"},
        {"encoding": "8UC3"},
        {"encoding": ""},
        {"step": 287},
        {"step": 0},
        {"step": 2**32 - 1},
        {"height": 0},
        {"width": 0},
        {"height": 30_000, "width": 30_000, "step": 90_000},
        {"data": array("B")},
        {"data": array("B", bytes(96 * 288 - 1))},
        {"data": array("B", bytes(96 * 288 + 1))},
    ],
)
def test_when_an_image_is_wrong_expect_the_stream_named_and_the_next_one_taken(rig: Rig, fields: dict) -> None:
    observed = Observed(rig)
    stamp_ns = time.time_ns()
    observed.around.cameras["wrist"](image(stamp_ns))
    observed.around.joints(joint_state(stamp_ns))
    observed.around.cameras["front"](wrong(**fields))
    observed.counted("front_bad")
    reason, detail = observed.no_answer(1)
    assert reason == Reason.BAD_MESSAGE and detail.startswith("front")
    observed.around.tick()
    observed.answer(2)


# ---- row 17: wrong joint states ------------------------------------------------------------------------------------


@pytest.mark.row(17)
@pytest.mark.parametrize(
    ("names", "positions", "counter"),
    [
        (JOINTS[1:], HOME[1:], "joints_missing"),
        (ARM, HOME[:7], "joints_missing"),
        (JOINTS, HOME[:7], "joints_length"),
        ((), HOME, "joints_length"),
        ((), (), "joints_missing"),
        (JOINTS, (float("nan"), *HOME[1:]), "joints_not_finite"),
        (JOINTS, (*HOME[:7], float("inf")), "joints_not_finite"),
        ((*JOINTS, JOINTS[0]), (*HOME, 0.0), "joints_repeated"),
    ],
)
def test_when_a_joint_state_is_wrong_expect_no_answer_and_the_next_one_taken(
    rig: Rig, names: tuple, positions: tuple, counter: str
) -> None:
    observed = Observed(rig)
    stamp_ns = time.time_ns()
    for publish in observed.around.cameras.values():
        publish(image(stamp_ns))
    observed.around.joints(joint_state(stamp_ns, positions, names))
    observed.counted(counter)
    reason, detail = observed.no_answer(1)
    assert reason == Reason.BAD_MESSAGE and detail.startswith("joints")
    observed.around.tick()
    observed.answer(2)


@pytest.mark.row(17)
def test_when_there_are_extra_joints_in_another_order_expect_ours_by_name(rig: Rig) -> None:
    observed = Observed(rig)
    stamp_ns = time.time_ns()
    for publish in observed.around.cameras.values():
        publish(image(stamp_ns))
    names, positions = ("wheel", *reversed(JOINTS), "head"), (float("nan"), *reversed(HOME), 9.0)
    observed.around.joints(joint_state(stamp_ns, positions, names))
    answer = observed.answer(1)
    assert list(answer.joint_names) == list(JOINTS) and np.allclose(answer.joint_positions, HOME)


@pytest.mark.row(85)
def test_when_arm_and_gripper_have_a_driver_each_expect_one_observation_of_both(rig: Rig) -> None:
    observed = Observed(rig)
    gripper = rig.voice("/joint_states", JointState)
    stamp_ns = time.time_ns()
    for publish in observed.around.cameras.values():
        publish(image(stamp_ns))
    gripper(joint_state(stamp_ns - 5 * MS, (0.25,), JOINTS[7:]))
    observed.counted("joints_missing")
    observed.around.joints(joint_state(stamp_ns, HOME[:7], ARM))
    answer = observed.answer(1)
    assert np.allclose(answer.joint_positions, (*HOME[:7], 0.25)) and to_ns(answer.stamp.observation) == stamp_ns


@pytest.mark.row(85)
def test_when_the_gripper_never_comes_expect_its_name_and_who_publishes_what(rig: Rig) -> None:
    observed = Observed(rig)
    stamp_ns = time.time_ns()
    for publish in observed.around.cameras.values():
        publish(image(stamp_ns))
    observed.around.joints(joint_state(stamp_ns, HOME[:7], ARM))
    reason, detail = observed.no_answer(1)
    assert reason == Reason.BAD_MESSAGE
    assert "panda_gripper missing on /joint_states: /probe publishes panda_joint1, panda_joint2" in detail


@pytest.mark.row(86)
@pytest.mark.parametrize("stream", ["joints", "front"])
def test_when_two_nodes_publish_one_stream_expect_no_answer_until_one_is_gone(rig: Rig, stream: str) -> None:
    observed = Observed(rig)
    other = Node("other_driver", context=rig.context)
    topic, kind = {"joints": ("/joint_states", JointState), "front": ("/camera/front/image_raw", Image)}[stream]
    rogue = other.create_publisher(kind, topic, qos.SENSOR_OUT)
    rig.until(lambda: rogue.get_subscription_count(), what="the second publisher is connected")

    def both_speak() -> bool:
        stamp_ns = observed.around.tick()
        rogue.publish(joint_state(stamp_ns) if stream == "joints" else image(stamp_ns))
        rig.turn(0.03)  # as a driver would; a flood of messages is not what is tried here
        return observed.node.status[1] == Reason.SECOND_SOURCE

    rig.until(both_speak, what="both are named")
    assert "/other_driver and /probe" in observed.node.status[2] and observed.node.counters[f"{stream}_second_source"]
    assert observed.no_answer(1)[0] == Reason.SECOND_SOURCE
    other.destroy_node()
    rig.until(lambda: observed.node.status[1] != Reason.SECOND_SOURCE, what="one of them is gone")
    observed.around.tick()
    observed.answer(2)


# ---- start-up ------------------------------------------------------------------------------------------------------


def test_when_the_robot_file_is_missing_expect_error_that_names_it(rig: Rig) -> None:
    node = rig.add(ObservationNode, robot_file="/no/such/robot.yaml")
    assert node.status[:2] == (State.ERROR, Reason.BAD_PARAMETER) and "/no/such/robot.yaml" in node.status[2]


def test_when_a_contract_lies_about_its_hash_expect_refusal(rig: Rig) -> None:
    observed = Observed(rig, introduced=False)
    msg = from_contract(contract())
    msg.contract_hash = "0" * 64
    rig.voice("policy_contract", PolicyContract, qos.LATCHED)(msg)
    rig.until_status(observed.node, State.HOLDING, Reason.CONTRACT_MISMATCH)
    assert observed.node.counters["contract_bad"] == 1


# ---- formats and clocks --------------------------------------------------------------------------------------------


def test_when_images_are_compressed_expect_them_decoded_and_a_broken_one_named(rig: Rig) -> None:
    observed = Observed(rig, compressed=True)
    cameras = {name: rig.voice(f"/camera/{name}/image_raw/compressed", CompressedImage) for name in ("front", "wrist")}
    red = np.zeros((120, 160, 3), np.uint8)
    red[:, :] = (200, 10, 10)
    png = cv2.imencode(".png", np.ascontiguousarray(red[:, :, ::-1]))[1].tobytes()

    def show(front: bytes) -> None:
        stamp_ns = time.time_ns()
        for name, content in (("front", front), ("wrist", png)):
            msg = CompressedImage(format="png", data=array("B", content))
            msg.header.stamp = joint_state(stamp_ns).header.stamp
            cameras[name](msg)
        observed.around.joints(joint_state(stamp_ns))

    show(png[:-4] + b"\0\0\0\0")
    observed.counted("front_bad")
    show(png)
    answer = observed.answer(1)
    assert set(np.array(answer.images[0].data).reshape(-1, 3)[:, 0]) == {200}
    # A header that is right before content that is not: found out only when it is decoded.
    hollow = bytearray(png)
    hollow[41:60] = bytes(19)
    since_ns = time.time_ns()
    show(bytes(hollow))
    observed.no_answer(2, not_before_ns=since_ns)
    assert observed.node.counters["front_bad"] == 2


def test_when_one_cameras_topic_is_of_compressed_images_expect_both_kinds_read(rig: Rig, tmp_path: Path) -> None:
    share = Path(get_package_share_directory("robot_bringup"))
    robot = yaml.safe_load((share / "config" / "robots" / "sim_panda.yaml").read_text(encoding="utf-8"))
    robot["cameras"]["wrist"] = "/camera/wrist/image_raw/compressed"
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump(robot), encoding="utf-8")
    observed = Observed(rig, robot_file=str(file))
    stamp_ns = time.time_ns()
    msg = CompressedImage(format="png", data=array("B", cv2.imencode(".png", np.full((96, 96, 3), 7, np.uint8))[1]))
    msg.header.stamp = joint_state(stamp_ns).header.stamp
    rig.voice("/camera/wrist/image_raw/compressed", CompressedImage)(msg)
    observed.around.cameras["front"](image(stamp_ns, fill=9))
    observed.around.joints(joint_state(stamp_ns))
    assert [set(each.data) for each in observed.answer(1).images] == [{9}, {7}]


@pytest.mark.parametrize(("encoding", "blue_at"), [("bgr8", 0), ("bgra8", 0), ("rgba8", 2)])
def test_when_a_camera_sends_another_order_of_colours_expect_the_policys(rig: Rig, encoding: str, blue_at: int) -> None:
    observed = Observed(rig)
    stamp_ns = time.time_ns()
    blue = np.zeros((96, 96, 3 + ("a" in encoding)), np.uint8)
    blue[:, :, blue_at] = 90
    for publish in observed.around.cameras.values():
        msg = image(stamp_ns)
        msg.encoding, msg.step, msg.data = encoding, blue[0].size, array("B", blue.tobytes())
        publish(msg)
    observed.around.joints(joint_state(stamp_ns))
    answer = observed.answer(1).images[0]
    pixels = np.array(answer.data).reshape(96, 96, 3)
    assert answer.encoding == "rgb8" and pixels[..., 2].min() == 90 and pixels[..., 0].max() == 0


@pytest.mark.row(89)
def test_when_a_camera_runs_on_another_clock_expect_that_named_and_what_to_do(rig: Rig) -> None:
    observed = Observed(rig)
    observed.around.cameras["front"](image(5 * S))
    observed.around.cameras["wrist"](image(time.time_ns()))
    observed.around.joints(joint_state(time.time_ns()))
    reason, detail = observed.no_answer(1)
    assert reason == Reason.OTHER_CLOCK
    assert detail.startswith("front: stamps are 1.") and "use_sim_time:=true" in detail


@pytest.mark.row(89)
def test_when_nobody_publishes_the_clock_that_is_followed_expect_that_named(rig: Rig) -> None:
    observed = Observed(rig, use_sim_time=True)
    observed.around.tick()
    reason, detail = observed.no_answer(1)
    assert (reason, detail) == (Reason.NO_CLOCK, "use_sim_time is true and nobody publishes /clock")
    tell = rig.voice("/clock", Clock)
    rig.until(
        lambda: tell(Clock(clock=to_time(50 * S))) or observed.node.get_clock().now().nanoseconds, what="the clock runs"
    )
    observed.around.tick()  # by the wall clock
    rig.until(lambda: observed.node.counters["front_other_clock"], what="stamps of the wall clock are refused")
    rig.until(lambda: "set use_sim_time on its driver" in observed.node.status[2], what="and it is said")
    observed.around.tick(50 * S)
    rig.until(lambda: observed.node.status[0] == State.READY, what="READY")


@pytest.mark.row(18)
def test_when_the_clock_goes_back_expect_what_was_seen_forgotten_and_new_images_taken(rig: Rig) -> None:
    observed = Observed(rig, use_sim_time=True, pace="lockstep")
    tell = rig.voice("/clock", Clock)

    def tick(now_ns: int) -> None:
        tell(Clock(clock=to_time(now_ns)))
        observed.settle(lambda: observed.node.get_clock().now().nanoseconds == now_ns)
        observed.around.tick(now_ns)

    tick(1000 * S)
    observed.answer(1)
    tick(500 * S)
    observed.counted("clock_jump")
    assert to_ns(observed.answer(2).stamp.observation) == 500 * S


@pytest.mark.row(18)
def test_when_the_simulated_clock_stands_still_expect_requests_given_up_on_the_steady_clock(rig: Rig) -> None:
    observed = Observed(rig, use_sim_time=True, pace="lockstep")
    rig.voice("/clock", Clock)(Clock(clock=to_time(1000 * S)))
    reason, _ = observed.no_answer(1, deadline_s=0.2)
    assert reason == Reason.MISSING_STREAM
