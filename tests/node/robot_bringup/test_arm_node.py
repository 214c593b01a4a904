# SPDX-License-Identifier: Apache-2.0
"""arm_node on the wire: services, one command per tick, refusals by name, a guard around every callback."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Header, Int8
from trajectory_msgs.msg import JointTrajectory
from vla_interfaces.msg import ActionChunk, Executed, NodeStatus, PolicyContract, Request, Takeover
from vla_interfaces.srv import Arm, Disarm, Pause, Reset, Resume

from fakes.arm_world import DT_S, HORIZON, contract_for, kinematics_of, panda
from harness.domains import DomainLock
from robot_bringup.core.cartesian import seven_from_pose
from robot_bringup.nodes.arm_node import ArmNode
from whetstone_common.core.parameters import ParameterError
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import floats, from_contract, to_time

ROBOT = panda()
KINEMATICS = kinematics_of(ROBOT)
CONTRACT = contract_for(ROBOT)
DEADLINE_S = 20.0
NS = 1_000_000_000


class Bench:
    """The node under test, and a client that plays joints, policy and person. Time passes only in `until`."""

    def __init__(self, domain_id: int, **parameters: Any) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.arm = ArmNode(context=self.context, parameter_overrides=overrides)
        self.client = rclpy.create_node("client", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.arm)
        self.executor.add_node(self.client)
        self.commands: list[JointTrajectory] = []
        self.requests: list[Request] = []
        self.executed: list[Executed] = []
        self.statuses: list[NodeStatus] = []
        self.positions = ROBOT.home.copy()
        self.tick = 0
        # In lockstep the stamps are the time; in real time they are of the clock that the node has.
        self.origin_ns = time.time_ns() if parameters.get("pace") == "realtime" else 1000 * NS
        self._connect(parameters.get("dry_run", False))

    def _connect(self, dry_run: bool) -> None:
        make, hear = self.client.create_publisher, self.client.create_subscription
        topic = "/arm_node/dry_run" if dry_run else ROBOT.command_topic
        hear(JointTrajectory, topic, self.commands.append, qos.SENSOR_IN_RELIABLE)
        hear(Request, "request", self.requests.append, qos.RING)
        hear(Executed, "executed", self.executed.append, qos.RECORD)
        hear(NodeStatus, "node_status", self.statuses.append, qos.LATCHED)
        self.joints = make(JointState, "/joint_states", qos.SENSOR_OUT)
        self.chunks = make(ActionChunk, "action_chunk", qos.RING)
        self.people = make(Takeover, "takeover", qos.RING)
        self.estop = make(Bool, "estop", qos.LATCHED)
        self.contracts = make(PolicyContract, "policy_contract", qos.LATCHED)
        kinds = {"arm": Arm, "disarm": Disarm, "reset": Reset, "resume": Resume, "pause": Pause}
        self.services = {name: self.client.create_client(kind, f"arm_node/{name}") for name, kind in kinds.items()}
        self.arm.autostart()
        publishers = (self.joints, self.chunks, self.people, self.estop, self.contracts)
        self.until(lambda: all(publisher.get_subscription_count() for publisher in publishers))
        self.until(lambda: all(service.service_is_ready() for service in self.services.values()))
        self.contracts.publish(from_contract(CONTRACT))

    def until(self, condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
        end_s = time.monotonic() + deadline_s
        while not (value := condition()):
            assert time.monotonic() < end_s, f"not within {deadline_s} s; last status {self.statuses[-1:]}"
            self.executor.spin_once(timeout_sec=0.01)
        return value

    def call(self, name: str, request: Any) -> Any:
        future = self.services[name].call_async(request)
        self.until(future.done)
        return future.result()

    def show_joints(self, **changes: Any) -> None:
        msg = JointState(name=list(ROBOT.contract_joints), position=[*self.positions.tolist(), 1.0])
        msg.header.stamp = to_time(self.origin_ns + self.tick * round(DT_S * NS))
        for name, value in changes.items():
            setattr(msg, name, value)
        self.joints.publish(msg)

    def world_tick(self) -> None:
        self.tick += 1
        self.show_joints()

    def status(self) -> tuple[int, int]:
        return (self.statuses[-1].state, self.statuses[-1].reason) if self.statuses else (-1, -1)

    def counter(self, name: str) -> int:
        if not self.statuses:
            return 0
        status = self.statuses[-1]
        return int(dict(zip(status.counter_names, status.counters, strict=True)).get(name, 0))

    def running(self) -> Bench:
        self.show_joints()
        self.until(lambda: self.call("arm", Arm.Request()).success)
        answer = self.call("resume", Resume.Request(seed=4, not_before=to_time(self.origin_ns)))
        assert answer.success and answer.episode == 1 and answer.epoch == self.arm.epoch_ns, answer.message
        self.until(lambda: self.requests)
        return self

    def chunk(self, request: Request, **changes: Any) -> ActionChunk:
        actions = np.zeros((HORIZON, 7), dtype=np.float32)
        actions[:, 1] = 0.005 * np.arange(1, HORIZON + 1)
        actions[:, -1] = 1.0
        msg = ActionChunk(
            stamp=request.stamp,
            source="/steering_node",
            source_epoch=5,
            contract_hash=CONTRACT.hash(),
            space=ActionChunk.CARTESIAN,
            action_names=list(CONTRACT.action_names),
            reference=floats(seven_from_pose(KINEMATICS.fk(self.positions))),
            dt_s=DT_S,
            horizon=HORIZON,
            action_dim=7,
            actions=actions.ravel().tolist(),
            execute_steps=8,
            valid_for_s=1.0,
        )
        msg.stamp.observation = request.not_before
        for name, value in changes.items():
            setattr(msg, name, value)
        return msg

    def close(self) -> None:
        self.arm.close()
        self.executor.shutdown()
        self.arm.destroy_node()
        self.client.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []
    lock = DomainLock()

    def make(**parameters: Any) -> Bench:
        made.append(Bench(lock.domain_id, **({"pace": "lockstep"} | parameters)))
        return made[-1]

    yield make
    for rig in made:
        rig.close()
    lock.release()


def test_when_a_chunk_is_played_in_lockstep_expect_one_stamped_command_and_one_record_per_tick(bench, tmp_path):
    log = tmp_path / "log" / "arm.jsonl"
    rig = bench(command_log=str(log)).running()
    assert (rig.requests[0].seed, rig.requests[0].stamp.sequence) == (4, 0)
    rig.chunks.publish(rig.chunk(rig.requests[0]))
    for tick in range(8):
        rig.until(lambda tick=tick: len(rig.commands) > tick)
        rig.world_tick()
    rig.until(lambda: len(rig.requests) == 2 and len(rig.executed) == 8)
    stamps = [command.header.stamp.nanosec + command.header.stamp.sec * NS for command in rig.commands]
    assert np.diff(stamps).tolist() == [round(DT_S * NS)] * 7
    assert rig.commands[0].joint_names == list(ROBOT.contract_joints)
    np.testing.assert_allclose([done.action[1] for done in rig.executed], 0.005 * np.arange(1, 9), atol=5e-4)
    assert rig.call("pause", Pause.Request()).steps == 8
    rig.arm.close()
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == list(range(8))
    assert {line["source"] for line in lines} == {"policy"} and {line["request"] for line in lines} == {1}
    assert len(lines[0]["q"]) == 8


def test_when_not_armed_or_not_reset_expect_services_to_say_why(bench):
    rig = bench()
    assert rig.call("resume", Resume.Request()).message == "resume needs an armed arm at rest, it is disarmed"
    refused = rig.call("arm", Arm.Request())
    assert not refused.success and refused.message
    assert not rig.call("reset", Reset.Request()).success
    rig.show_joints()
    rig.until(lambda: rig.call("arm", Arm.Request()).success)
    rig.until(lambda: rig.status() == (NodeStatus.READY, NodeStatus.NONE))
    assert rig.call("disarm", Disarm.Request()).success
    rig.until(lambda: rig.status() == (NodeStatus.READY, NodeStatus.DISARMED))


def test_when_autoarm_is_on_expect_ready_without_a_call(bench):
    rig = bench(autoarm=True)
    rig.show_joints()
    rig.until(lambda: rig.status() == (NodeStatus.READY, NodeStatus.NONE))


def test_when_the_estop_is_pressed_expect_a_latch_until_release_and_reset(bench):
    rig = bench().running()
    rig.estop.publish(Bool(data=True))
    rig.until(lambda: rig.status() == (NodeStatus.STOPPED, NodeStatus.ESTOP))
    assert "pressed" in rig.call("reset", Reset.Request()).message
    rig.chunks.publish(rig.chunk(rig.requests[0]))
    rig.estop.publish(Bool(data=False))
    rig.until(lambda: rig.call("reset", Reset.Request()).success)
    rig.until(lambda: rig.status() == (NodeStatus.READY, NodeStatus.NONE))
    assert rig.commands == []


@contextlib.contextmanager
def other_process(rig: Bench) -> Iterator[Node]:
    """A node of another participant: within one, a topic has one type."""
    context = Context()
    context.init(domain_id=rig.context.get_domain_id())
    node = Node("panel", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


VOLATILE = QoSProfile(depth=10)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.mark.parametrize("profile", [VOLATILE, BEST_EFFORT], ids=["volatile", "best_effort"])
def test_when_the_estop_is_published_with_another_qos_expect_it_heard(bench, profile):
    rig = bench().running()
    button = rig.client.create_publisher(Bool, "/estop", profile)
    rig.until(lambda: button.get_subscription_count() > 0)
    button.publish(Bool(data=True))
    rig.until(lambda: rig.status() == (NodeStatus.STOPPED, NodeStatus.ESTOP))


def test_when_another_button_says_false_expect_still_stopped_and_a_reset_that_names_who_presses(bench):
    rig = bench().running()
    other = rig.client.create_publisher(Bool, "/estop", VOLATILE)
    rig.until(lambda: other.get_subscription_count() > 0)
    rig.estop.publish(Bool(data=True))
    rig.until(lambda: rig.status() == (NodeStatus.STOPPED, NodeStatus.ESTOP))
    other.publish(Bool(data=False))
    rig.until(lambda: "pressed by /client" in rig.call("reset", Reset.Request()).message)
    rig.estop.publish(Bool(data=False))
    rig.until(lambda: rig.call("reset", Reset.Request()).success)


def test_when_a_button_vanishes_while_pressed_expect_it_pressed_until_a_reset(bench):
    rig = bench().running()
    button = rig.client.create_publisher(Bool, "/estop", VOLATILE)
    rig.until(lambda: button.get_subscription_count() > 0)
    button.publish(Bool(data=True))
    rig.until(lambda: rig.status() == (NodeStatus.STOPPED, NodeStatus.ESTOP))
    rig.client.destroy_publisher(button)
    rig.until(lambda: "vanished" in rig.statuses[-1].detail)
    assert rig.status() == (NodeStatus.STOPPED, NodeStatus.ESTOP)
    assert rig.call("reset", Reset.Request()).success


def test_when_an_estop_has_another_type_expect_arming_refused_with_its_name(bench):
    rig = bench()
    rig.show_joints()
    with other_process(rig) as panel:
        panel.create_publisher(Int8, "/estop", 1)
        rig.until(lambda: "/panel publishes std_msgs/msg/Int8" in rig.call("arm", Arm.Request()).message)


def test_when_another_node_commands_the_controller_expect_arming_refused_with_its_name(bench):
    rig = bench()
    rig.show_joints()
    rig.client.create_publisher(JointTrajectory, ROBOT.command_topic, 1)
    rig.until(lambda: "/client publishes on" in rig.call("arm", Arm.Request()).message)


def test_when_another_commander_appears_in_an_episode_expect_a_stop_with_its_name(bench):
    rig = bench().running()
    other = rig.client.create_publisher(JointTrajectory, ROBOT.command_topic, 1)
    rig.until(lambda: rig.status() == (NodeStatus.STOPPED, NodeStatus.SECOND_COMMANDER))
    assert "/client" in rig.statuses[-1].detail
    rig.client.destroy_publisher(other)
    rig.until(lambda: rig.call("reset", Reset.Request()).success and rig.call("arm", Arm.Request()).success)


def test_when_a_takeover_device_cannot_be_heard_expect_a_reason_with_its_name(bench):
    rig = bench(autoarm=True)
    rig.show_joints()
    rig.client.create_publisher(Takeover, "takeover", BEST_EFFORT)
    rig.until(lambda: rig.status() == (NodeStatus.READY, NodeStatus.INCOMPATIBLE_PUBLISHER))
    assert "/client" in rig.statuses[-1].detail and rig.counter("incompatible_publishers") == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"contract_hash": "x"}, NodeStatus.CONTRACT_MISMATCH),
        ({"horizon": 3}, NodeStatus.CONTRACT_MISMATCH),
        ({"action_dim": 2**31}, NodeStatus.CONTRACT_MISMATCH),
        ({"space": 9}, NodeStatus.CONTRACT_MISMATCH),
        ({"actions": [float("nan")] * (7 * HORIZON)}, NodeStatus.NOT_FINITE),
        ({"reference": [0.0] * 7}, NodeStatus.BAD_MESSAGE),
    ],
)
def test_when_a_chunk_does_not_fit_expect_hold_with_the_reason_and_nothing_sent(bench, change, reason):
    rig = bench().running()
    rig.chunks.publish(rig.chunk(rig.requests[0], **change))
    rig.until(lambda: rig.status() == (NodeStatus.HOLDING, reason))
    rig.until(lambda: len(rig.requests) == 2)
    assert rig.commands == [] and rig.counter("chunk_refused") == 1


def test_when_a_joint_state_is_incomplete_or_not_finite_expect_it_counted_and_not_used(bench):
    rig = bench()
    rig.show_joints(position=[float("nan")] * 8)
    rig.show_joints(name=list(ROBOT.joints), position=ROBOT.home.tolist())
    rig.show_joints(position=[0.0])
    rig.until(lambda: rig.counter("joint_state_refused") == 2)
    assert not rig.call("arm", Arm.Request()).success


@pytest.mark.row(85)
def test_when_the_gripper_is_missing_expect_its_name_and_who_publishes_what(bench):
    rig = bench()
    rig.show_joints(name=list(ROBOT.joints), position=ROBOT.home.tolist())
    rig.until(lambda: rig.statuses and "panda_gripper missing" in rig.statuses[-1].detail)
    answer = rig.call("arm", Arm.Request())
    assert not answer.success
    assert answer.message.startswith("panda_gripper missing on /joint_states: /client publishes panda_joint1, ")


@pytest.mark.row(85)
def test_when_joint_states_come_in_parts_expect_the_arm_to_run(bench):
    rig = bench(pace="realtime", joint_timeout_s=5.0, realtime_priority=0)
    rig.show_joints(name=list(ROBOT.joints), position=ROBOT.home.tolist())
    gripper = rig.client.create_publisher(JointState, "/joint_states", qos.SENSOR_OUT)
    rig.until(lambda: gripper.get_subscription_count())
    message = JointState(name=["panda_gripper"], position=[0.75])
    message.header.stamp = to_time(rig.origin_ns)
    gripper.publish(message)
    rig.until(lambda: rig.call("arm", Arm.Request()).success)
    assert rig.call("resume", Resume.Request(not_before=to_time(rig.origin_ns))).success
    rig.until(lambda: rig.commands)
    assert rig.commands[0].points[0].positions[-1] == 0.75 and rig.counter("joint_state_refused") == 0


@pytest.mark.row(89)
@pytest.mark.parametrize(
    ("stamp_ns", "parameters", "reason", "words"),
    [
        (5 * NS, {}, NodeStatus.DISARMED, "behind this node's clock: another clock; if a simulator publishes /clock"),
        (0, {}, NodeStatus.DISARMED, "stamp is zero: its driver does not stamp what it publishes"),
        (5 * NS, {"use_sim_time": True}, NodeStatus.DISARMED, "use_sim_time is true and nobody publishes /clock"),
    ],
)
def test_when_the_driver_has_another_clock_or_none_expect_no_arming_and_why(bench, stamp_ns, parameters, reason, words):
    rig = bench(pace="realtime", realtime_priority=0, **parameters)
    rig.until(lambda: rig.show_joints(header=Header(stamp=to_time(stamp_ns))) or rig.counter("joint_state_refused") > 2)
    rig.until(lambda: rig.status() == (NodeStatus.READY, reason))
    answer = rig.call("arm", Arm.Request())
    assert not answer.success and words in answer.message
    rig.until(lambda: words in rig.statuses[-1].detail)


@pytest.mark.row(86)
def test_when_a_second_driver_publishes_the_same_joints_expect_no_arming_and_both_named(bench):
    rig = bench()
    rogue = rclpy.create_node("rogue_driver", context=rig.context)
    second = rogue.create_publisher(JointState, "/joint_states", qos.SENSOR_OUT)
    rig.until(lambda: second.get_subscription_count())
    names = list(ROBOT.contract_joints)

    def both_speak() -> bool:
        rig.world_tick()
        second.publish(JointState(name=names, position=[0.1] * 8))
        return "/client and /rogue_driver" in rig.call("arm", Arm.Request()).message

    rig.until(both_speak)
    assert rig.counter("second_source") > 0
    rogue.destroy_node()


def test_when_a_contract_lies_about_its_hash_expect_it_refused(bench):
    rig = bench()
    lie = from_contract(CONTRACT)
    lie.horizon += 1
    rig.contracts.publish(lie)
    rig.until(lambda: rig.counter("contract_refused") == 1)


def test_when_dry_expect_everything_on_its_own_topic(bench):
    rig = bench(dry_run=True).running()
    rig.chunks.publish(rig.chunk(rig.requests[0]))
    rig.until(lambda: rig.commands)
    assert rig.client.count_publishers(ROBOT.command_topic) == 0


def test_when_nobody_listens_to_commands_expect_resume_refused(bench, tmp_path: Path):
    text = (Path(__file__).parents[3] / "ros2_ws/src/robot_bringup/config/robots/sim_panda.yaml").read_text("utf-8")
    path = tmp_path / "deaf.yaml"
    path.write_text(text.replace("arm_controller/joint_trajectory", "nobody/joint_trajectory"), encoding="utf-8")
    rig = bench(robot_file=str(path))
    rig.show_joints()
    rig.until(lambda: rig.call("arm", Arm.Request()).success)
    assert "/nobody/joint_trajectory" in rig.call("resume", Resume.Request()).message


@pytest.mark.parametrize(
    "parameters",
    [
        {"robot_file": "no_such_robot"},
        {"robot_file": "/no/such/robot.yaml"},
        {"chunk_timeout_s": float("nan")},
        {"joint_timeout_s": 0.0},
        {"pace": "warp"},
        {"surprise": 1},
        {"lockstep_delay_steps": 3},
    ],
)
def test_when_a_parameter_makes_no_sense_expect_refusal_before_anything_starts(bench, parameters):
    with pytest.raises(ParameterError):
        bench(**parameters)


def test_when_armed_expect_motion_parameters_to_be_locked(bench):
    rig = bench()
    assert rig.arm.set_parameters([Parameter("chunk_timeout_s", value=3.0)])[0].successful
    rig.show_joints()
    rig.until(lambda: rig.call("arm", Arm.Request()).success)
    assert "locked" in rig.arm.set_parameters([Parameter("chunk_timeout_s", value=2.0)])[0].reason


CALLBACKS = ["_on_joint_state", "_on_chunk", "_on_takeover", "_on_estop", "_on_contract", "_on_housekeeping"]


@pytest.mark.parametrize("callback", CALLBACKS)
def test_when_a_callback_raises_expect_error_a_counter_and_a_way_back_by_reset(bench, callback, monkeypatch):
    monkeypatch.setenv("WHETSTONE_FAIL_CALLBACK", f"{callback}:2")
    rig = bench()
    assert callback in rig.arm.guarded_names
    end_s = time.monotonic() + DEADLINE_S
    while rig.status()[0] != NodeStatus.ERROR:
        assert time.monotonic() < end_s
        rig.show_joints()
        rig.chunks.publish(ActionChunk())
        rig.people.publish(Takeover())
        rig.estop.publish(Bool(data=False))
        rig.contracts.publish(from_contract(CONTRACT))
        rig.executor.spin_once(timeout_sec=0.02)
    assert rig.status() == (NodeStatus.ERROR, NodeStatus.CALLBACK_EXCEPTION)
    assert rig.counter("callback_exceptions") == 1 and callback in rig.statuses[-1].detail
    rig.until(lambda: rig.call("reset", Reset.Request()).success)
    rig.until(lambda: rig.status()[0] == NodeStatus.READY)


def test_when_in_real_time_expect_a_steady_stream_from_its_own_thread_and_a_ramp_at_the_end(bench, tmp_path):
    log = tmp_path / "arm.jsonl"
    rig = bench(pace="realtime", joint_timeout_s=5.0, command_log=str(log), realtime_priority=0)
    rig.show_joints()
    rig.until(lambda: rig.call("arm", Arm.Request()).success)
    assert rig.call("resume", Resume.Request()).success
    rig.until(lambda: rig.requests)
    chunk = rig.chunk(rig.requests[0])
    chunk.stamp.observation = rig.client.get_clock().now().to_msg()
    rig.chunks.publish(chunk)
    rig.until(lambda: len(rig.executed) >= 3)
    rig.arm.close()
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    q = np.array([line["q"] for line in lines])
    assert (np.abs(np.diff(q[:, :7], axis=0)) <= ROBOT.limits.velocity * 0.0101).all()
    assert lines[-1]["source"] == "hold" and np.allclose(q[-1], q[-2], atol=ROBOT.limits.acceleration.max() * 1e-4)
    assert rig.statuses[-1].state in (NodeStatus.RUNNING, NodeStatus.STOPPED, NodeStatus.FINALIZED)


def test_when_the_control_thread_raises_expect_error_and_a_ramp_instead_of_silence(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("WHETSTONE_FAIL_CALLBACK", "_control:60")
    log = tmp_path / "arm.jsonl"
    rig = bench(pace="realtime", joint_timeout_s=5.0, command_log=str(log), realtime_priority=0)
    rig.until(lambda: rig.status() == (NodeStatus.ERROR, NodeStatus.CALLBACK_EXCEPTION))
    assert "_control" in rig.statuses[-1].detail
    assert rig.arm._loop.is_alive  # noqa: SLF001
    rig.until(lambda: rig.call("reset", Reset.Request()).success)
