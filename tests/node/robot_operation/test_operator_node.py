# SPDX-License-Identifier: Apache-2.0
"""operator_node on the wire: a stream while engaged, one release, stop and marks."""

from __future__ import annotations

import itertools
import math
import os
import pty
import time
import tty
from collections.abc import Callable
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, Header
from vla_interfaces.msg import (
    Decision,
    EpisodeEvent,
    EpisodeMark,
    Executed,
    NodeStatus,
    Request,
    Stamp,
    Takeover,
    TaskTruth,
)

from harness.rig import Rig
from robot_operation.nodes import terminal
from robot_operation.nodes.operator_node import OperatorNode
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.robot_files import find_kinematics, find_robot


class Heard:
    """The node, and what a client hears of it."""

    def __init__(self, rig: Rig, **parameters: Any) -> None:
        self.rig = rig
        self.takeovers = rig.hear("takeover", Takeover, qos.RING)
        self.stops = rig.hear("estop", Bool, qos.LATCHED)
        self.marks = rig.hear("mark", EpisodeMark, qos.RING)
        self.statuses = rig.hear("node_status", NodeStatus, qos.LATCHED)
        self.node = rig.add(OperatorNode, **parameters)

    def until(self, condition: Callable[[], Any]) -> Any:
        return self.rig.until(condition)

    def engaged(self) -> bool:
        return bool(self.takeovers) and self.takeovers[-1].engaged


def joy(*down: int, axes: tuple[float, ...] = (0.0,) * 8) -> Joy:
    return Joy(axes=list(axes), buttons=[int(k in down) for k in range(8)])


def test_when_the_deadman_is_held_expect_a_stream_and_one_release(rig):
    heard = Heard(rig, device="joy", linear_speed_m_s=0.2)
    say = rig.voice("/joy", Joy, qos.SENSOR_OUT)
    say(joy(5, axes=(0.0, 0.5, 0, 0, 0, 0, 0, 0)))
    heard.until(lambda: sum(message.engaged for message in heard.takeovers) >= 3)
    assert heard.takeovers[-1].twist[0] == pytest.approx(0.1)
    assert heard.takeovers[-1].mode == Takeover.VELOCITY and math.isnan(heard.takeovers[-1].gripper)
    say(joy())
    heard.until(lambda: not heard.engaged())
    sequences = [message.sequence for message in heard.takeovers]
    assert sequences == sorted(set(sequences))
    assert {message.source for message in heard.takeovers} == {heard.node.get_fully_qualified_name()}


def test_when_the_stick_is_unplugged_while_engaged_expect_silence_and_no_release(rig):
    heard = Heard(rig, device="joy", joy_timeout_s=0.2)
    rig.voice("/joy", Joy, qos.SENSOR_OUT)(joy(5))
    heard.until(heard.engaged)
    rig.until(lambda: not heard.node._device.intent(time.monotonic()).alive)  # noqa: SLF001
    count = len(heard.takeovers)
    rig.turn(0.3)
    assert heard.engaged() and len(heard.takeovers) <= count + 1


def test_when_buttons_say_stop_or_success_expect_it_told_once(rig):
    heard = Heard(rig, device="joy")
    say = rig.voice("/joy", Joy, qos.SENSOR_OUT)
    say(joy(1, 3))
    say(joy(1, 3))
    heard.until(lambda: heard.stops and heard.marks)
    assert [stop.data for stop in heard.stops] == [True] and [mark.mark for mark in heard.marks] == [
        EpisodeMark.SUCCESS
    ]


def test_when_the_stick_sends_nonsense_expect_it_counted(rig):
    heard = Heard(rig, device="joy")
    rig.voice("/joy", Joy, qos.SENSOR_OUT)(joy(5, axes=(float("nan"),) * 8))
    heard.until(lambda: heard.node.counters["joy_refused"] == 1)
    assert not heard.engaged()


def test_when_the_script_is_engaged_expect_its_targets_under_our_own_name(rig):
    heard = Heard(rig, device="scripted")
    script = rig.voice("/sim/expert", Takeover, qos.RING)
    engage = rig.voice("operator/engage", Bool, qos.LATCHED)
    engage(Bool(data=True))
    heard.until(lambda: heard.node._scripted_on)  # noqa: SLF001
    script(Takeover(source="/sim_node", mode=Takeover.TCP_TARGET, tcp_target=[0.4, 0, 0.2, 1, 0, 0, 0.0], gripper=0.0))
    heard.until(heard.engaged)
    assert heard.takeovers[-1].source == heard.node.get_fully_qualified_name()
    assert heard.takeovers[-1].tcp_target[0] == 0.4
    engage(Bool(data=False))
    heard.until(lambda: not heard.engaged())


class Table:
    """Shows a scripted person the arm at home, and where the object is."""

    def __init__(self, rig):
        self.robot = find_robot("sim_panda")
        self.joints = rig.voice(self.robot.joint_states_topic, JointState, qos.SENSOR_OUT)
        self.truth = rig.voice("/sim/truth", TaskTruth, qos.RECORD)
        self.script = rig.voice("/sim/expert", Takeover, qos.RING)

    def pose(self, stamp):
        home = [*self.robot.home.tolist(), self.robot.gripper.open]
        return JointState(header=Header(stamp=stamp), name=list(self.robot.contract_joints), position=home)

    def show(self, scene, tick, place, progress):
        self.joints(self.pose(Time()))
        where = {"object_position": place, "goal_position": place}
        self.truth(TaskTruth(reset_id=scene, tick=tick, progress=progress, **where))
        self.script(Takeover(source="/sim_node", mode=Takeover.TCP_TARGET, tcp_target=[0.4, 0, 0.2, 1, 0, 0, 0.0]))


def test_when_the_script_watches_expect_it_to_take_over_what_fails_and_to_let_go_when_the_object_is_lifted(rig):
    heard, table = Heard(rig, device="scripted", supervise=True), Table(rig)
    tcp = find_kinematics(table.robot).fk(table.robot.home).position
    beside = [float(tcp[0]) + 0.05, float(tcp[1]), float(tcp[2])]
    lifted = [*beside[:2], beside[2] + 0.10]
    tick = itertools.count()
    rig.until(lambda: (table.show(1, next(tick), beside, 0.1), heard.engaged())[-1])
    assert heard.node.counters["takeovers"] == 1
    rig.until(lambda: (table.show(1, next(tick), lifted, 0.5), not heard.engaged())[-1])


def test_when_an_episode_is_an_evaluation_expect_the_script_to_let_go_and_to_watch_again_from_the_next(rig):
    heard, table = Heard(rig, device="scripted", supervise=True), Table(rig)
    started = rig.voice("episode", EpisodeEvent, qos.RECORD)
    tcp = find_kinematics(table.robot).fk(table.robot.home).position
    beside = [float(tcp[0]) + 0.05, float(tcp[1]), float(tcp[2])]
    tick = itertools.count()
    rig.until(lambda: (table.show(1, next(tick), beside, 0.1), heard.engaged())[-1])
    started(EpisodeEvent(event=EpisodeEvent.STARTED, evaluation=True))
    rig.until(lambda: (table.show(1, next(tick), beside, 0.1), not heard.engaged())[-1])
    monitor = heard.node._monitor  # noqa: SLF001
    rig.until(lambda: (table.show(2, next(tick), beside, 0.1), monitor.commanded.scene == 2)[-1])
    assert heard.node.counters["takeovers"] == 1
    started(EpisodeEvent(event=EpisodeEvent.STARTED))
    rig.until(lambda: (table.show(3, next(tick), beside, 0.1), heard.engaged())[-1])


def test_when_the_last_command_of_an_episode_comes_after_the_reset_expect_nobody_to_take_over_for_it(rig):
    heard, table = Heard(rig, device="scripted", supervise=True), Table(rig)
    executed = rig.voice("executed", Executed, qos.RECORD)
    far, monitor = [0.4, 0.3, 0.02], heard.node._monitor  # noqa: SLF001

    def close(episode: int) -> None:
        executed(Executed(stamp=Stamp(epoch=7, episode=episode), joint_command=[*table.robot.home.tolist(), 0.0]))

    heard.until(lambda: (table.show(1, 0, far, 0.1), close(1), monitor.commanded.newest_episode == (7, 1))[-1])
    heard.until(lambda: (table.show(2, 0, far, 0.1), monitor.commanded.scene == 2)[-1])
    close(1)
    ticks = itertools.count(1)
    watched = monitor.intervention
    heard.until(lambda: (table.show(2, next(ticks), far, 0.1), watched._at[1] >= 5)[-1])  # noqa: SLF001
    assert heard.node.counters["takeovers"] == 0
    close(2)
    heard.until(lambda: (table.show(2, next(ticks), far, 0.1), heard.node.counters["takeovers"] == 1)[-1])


def test_when_the_truth_of_a_new_scene_comes_before_its_joints_expect_them_to_be_seen_together(rig):
    heard, table = Heard(rig, device="scripted", supervise=True), Table(rig)
    far, intervention = [0.4, 0.3, 0.02], heard.node._monitor.intervention  # noqa: SLF001
    tcp = find_kinematics(table.robot).fk(table.robot.home).position
    beside = [float(tcp[0]) + 0.05, float(tcp[1]), float(tcp[2])]
    heard.until(lambda: (table.show(1, 0, far, 0.1), intervention.ticks == 1)[-1])
    early = TaskTruth(reset_id=2, stamp=Time(sec=1), progress=0.1, object_position=beside, goal_position=beside)
    table.truth(early)
    heard.until(lambda: len(heard.node._monitor._pending) == 1)  # noqa: SLF001
    table.joints(table.pose(Time()))
    late = table.pose(Time(sec=1))
    late.position[1] -= 0.5  # leans back, so that the hand is high above the object
    heard.until(lambda: (table.joints(late), intervention.ticks == 2)[-1])
    assert heard.node.counters["takeovers"] == 0


class Script:
    """A scripted operator that has just taken over, and what the rest of the ring tells it."""

    def __init__(self, rig: Rig, patience_s: float) -> None:
        self.heard = Heard(rig, device="scripted", scripted_query_timeout_s=patience_s)
        self.says = rig.voice("/sim/expert", Takeover, qos.RING)
        self.engage = rig.voice("operator/engage", Bool, qos.LATCHED)
        self.ask = rig.voice("request", Request, qos.RING)
        self.answer = rig.voice("decision", Decision, qos.RECORD)
        self.engage(Bool(data=True))
        self.heard.until(lambda: self.heard.node._scripted_on)  # noqa: SLF001
        self.want(0.0)
        self.heard.until(lambda: self.openings() == [0.0])

    def want(self, opening: float) -> None:
        self.says(Takeover(mode=Takeover.TCP_TARGET, tcp_target=[0.4, 0, 0.2, 1, 0, 0, 0.0], gripper=opening))

    def openings(self) -> list[float]:
        """What went out while engaged."""
        return [message.gripper for message in self.heard.takeovers if message.engaged]

    def holds(self, *openings: float) -> bool:
        """Whether these wishes stay back while a look is open."""
        gone = self.openings()
        self.ask(Request(kind=Request.QUERY_ONLY, stamp=Stamp(epoch=7, episode=1, request_id=2)))
        self.heard.until(lambda: self.heard.node.counters["queries_awaited"] == 1)
        for opening in openings:
            self.want(opening)
        self.heard.rig.turn(0.2)
        return self.openings() == gone


def test_when_a_look_is_open_expect_the_scripts_newest_message_behind_its_answer(rig):
    script = Script(rig, patience_s=5.0)
    assert script.holds(0.1, 0.2)
    script.answer(Decision(request_kind=Request.ACT, stamp=Stamp(epoch=7, episode=1, request_id=2)))
    rig.turn(0.2)
    assert script.openings() == [0.0]
    script.answer(Decision(request_kind=Request.QUERY_ONLY, stamp=Stamp(epoch=7, episode=1, request_id=2)))
    rig.until(lambda: script.openings() == [0.0, 0.2])
    script.want(0.3)
    rig.until(lambda: script.openings() == [0.0, 0.2, 0.3])
    assert script.heard.node.counters["queries_timed_out"] == 0


def test_when_a_look_is_never_answered_expect_the_script_to_go_on_and_count_it(rig):
    script = Script(rig, patience_s=2.0)
    assert script.holds(0.1)
    rig.until(lambda: script.openings() == [0.0, 0.1])
    assert script.heard.node.counters["queries_timed_out"] == 1


def test_when_the_script_lets_go_while_it_waits_expect_the_release_at_once_and_nothing_behind_it(rig):
    script = Script(rig, patience_s=5.0)
    assert script.holds(0.1)
    script.engage(Bool(data=False))
    rig.until(lambda: not script.heard.engaged())
    script.answer(Decision(request_kind=Request.QUERY_ONLY, stamp=Stamp(epoch=7, episode=1, request_id=2)))
    rig.turn(0.2)
    assert script.openings() == [0.0] and not script.heard.engaged()


def test_when_there_is_no_patience_expect_the_script_to_hear_no_requests(rig):
    heard = Heard(rig, device="scripted")
    heard.until(lambda: heard.takeovers)
    assert not {"_on_request", "_on_decision"} & set(heard.node.guarded_names)


def test_when_the_watching_script_has_no_robot_expect_error_that_names_it(rig):
    heard = Heard(rig, device="scripted", supervise=True, robot_file="roomba")
    heard.until(lambda: any(status.state == NodeStatus.ERROR for status in heard.statuses))
    assert "roomba" in heard.statuses[-1].detail


def test_when_keys_are_typed_expect_motion_stop_and_marks(rig, monkeypatch):
    master, slave = pty.openpty()
    tty.setcbreak(slave)
    opened = os.ttyname(slave)
    monkeypatch.setattr(terminal, "TERMINAL", opened)
    heard = Heard(rig, device="keyboard", deadman_s=0.3)
    os.write(master, b"w")
    heard.until(lambda: any(message.twist[0] > 0.0 for message in heard.takeovers))
    heard.until(lambda: not heard.engaged())
    os.write(master, b" y")
    heard.until(lambda: heard.stops and heard.marks)
    assert heard.stops[-1].data and heard.marks[-1].mark == EpisodeMark.SUCCESS
    os.write(master, b"z")
    heard.until(lambda: not heard.stops[-1].data)


def test_when_there_is_no_terminal_expect_error_with_the_reason(rig, monkeypatch):
    monkeypatch.setattr(terminal, "TERMINAL", "/no/such/terminal")
    heard = Heard(rig, device="keyboard")
    heard.until(lambda: any(status.state == NodeStatus.ERROR for status in heard.statuses))
    assert "terminal" in heard.statuses[-1].detail


def test_when_there_is_no_device_expect_a_release_and_nothing_else(rig):
    heard = Heard(rig)
    heard.until(lambda: heard.takeovers)
    assert [message.engaged for message in heard.takeovers] == [False]


def test_when_the_terminal_goes_away_expect_error_and_no_more_takeover(rig, monkeypatch):
    master, slave = pty.openpty()
    tty.setraw(slave)
    monkeypatch.setattr(terminal, "TERMINAL", os.ttyname(slave))
    heard = Heard(rig, device="keyboard", deadman_s=5.0)
    os.write(master, b"w")
    heard.until(heard.engaged)
    os.close(slave)
    os.close(master)
    rig.until_status(heard.node, State.ERROR, Reason.OPERATOR_LOST)
    count = len(heard.takeovers)
    rig.turn(0.3)
    assert len(heard.takeovers) <= count + 1


def test_when_no_joystick_has_been_heard_expect_not_ready_until_it_is(rig):
    heard = Heard(rig, device="joy", joy_timeout_s=0.2)
    rig.until_status(heard.node, State.STARTING, Reason.OPERATOR_LOST)
    say = rig.voice("/joy", Joy, qos.SENSOR_OUT)
    say(joy())
    rig.until_status(heard.node, State.READY)
    rig.until_status(heard.node, State.ERROR, Reason.OPERATOR_LOST)
    say(joy())
    rig.until_status(heard.node, State.READY)
