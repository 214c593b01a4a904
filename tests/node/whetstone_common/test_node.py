# SPDX-License-Identifier: Apache-2.0
"""The base of all nodes: guarded callbacks, a status with a reason, a life that can be repeated."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from ament_index_python.packages import get_package_share_directory
from std_msgs.msg import String
from vla_interfaces.msg import NodeStatus
from vla_interfaces.srv import Reset

from harness.rig import Rig, counters
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import node_parameters, qos
from whetstone_common.nodes.node import WhetstoneNode, guarded_callbacks

SCHEMA = """
gain: {type: double, default: 1.0, bounds: [0.0, 2.0], description: Gain.}
limit: {type: double, default: 1.0, bounds: [0.0, 2.0], description: Limit., locked_while_armed: true}
fixed: {type: int, default: 3, description: Fixed., read_only: true}
"""


class Plain(WhetstoneNode):
    """A node that can be told to fail anywhere."""

    fails_in = ""

    def __init__(self, **kwargs: Any) -> None:
        self.calls: list[str] = []
        self.armed = False
        super().__init__("plain", package="plain_package", **kwargs)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails_in:
            raise RuntimeError(f"told to fail in {name}")

    def on_setup(self) -> None:
        self.create_subscription(String, "words", self.on_words, qos.RING)
        self.create_service(Reset, "~/reset", self.on_reset)
        self.create_steady_timer(0.05, self.tick)
        self._called("on_setup")

    def on_start(self) -> None:
        self._called("on_start")
        self.set_state(State.READY)

    def on_stop(self) -> None:
        self._called("on_stop")

    def on_teardown(self) -> None:
        self._called("on_teardown")

    def safe_action(self, _reason: Reason) -> None:
        self._called("safe_action")

    def is_armed(self) -> bool:
        return self.armed

    def check_parameters(self, values: dict[str, Any]) -> None:
        if values["gain"] > values["limit"]:
            raise ParameterError(f"gain {values['gain']} is above limit {values['limit']}")

    def on_words(self, msg: String) -> None:
        self._called("on_words")
        if msg.data == "reasoned":
            raise ReasonedError(Reason.BAD_MESSAGE, "words are bad")

    def on_reset(self, _request: Reset.Request, response: Reset.Response) -> Reset.Response:
        self._called("on_reset")
        response.success = True
        return response

    def tick(self) -> None:
        self._called("tick")


@pytest.fixture(autouse=True)
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of its own for the schema."""
    folder = tmp_path / "plain_package" / "config"
    folder.mkdir(parents=True)
    (folder / "plain_params.yaml").write_text(SCHEMA, encoding="utf-8")
    real = node_parameters.get_package_share_directory
    monkeypatch.setattr(
        node_parameters,
        "get_package_share_directory",
        lambda name: str(tmp_path / name) if name == "plain_package" else real(name),
    )
    monkeypatch.setattr(Plain, "fails_in", "")


def test_when_started_expect_the_hooks_in_order_and_a_status(rig: Rig) -> None:
    heard = rig.hear("node_status", NodeStatus, qos.LATCHED)
    node = rig.add(Plain)
    rig.until(lambda: heard and heard[-1].state == NodeStatus.READY, what="READY")
    assert node.calls[:2] == ["on_setup", "on_start"] and heard[-1].node == "/plain"
    assert heard[-1].node_epoch == node.epoch_ns


@pytest.mark.row(9)
@pytest.mark.parametrize("name", ["on_words", "tick", "on_reset"])
def test_when_a_callback_raises_expect_safe_action_error_and_the_node_alive(
    rig: Rig, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = rig.add(Plain)
    say = rig.voice("words", String)
    client = rig.probe.create_client(Reset, "/plain/reset")
    rig.until(client.service_is_ready, what="the service")
    monkeypatch.setattr(Plain, "fails_in", name)
    say(String(data="now"))
    future = client.call_async(Reset.Request())
    rig.until_status(node, State.ERROR, Reason.CALLBACK_EXCEPTION)
    rig.until(lambda: name in node.status[2], what=f"{name} is named")
    rig.until(future.done, what="the service answers whatever happens")
    assert "safe_action" in node.calls and future.result().success == (name != "on_reset")
    monkeypatch.setattr(Plain, "fails_in", "")
    node.calls.clear()
    rig.until(lambda: "tick" in node.calls, what="the node goes on")


def test_when_an_error_knows_its_reason_expect_it_in_the_status(rig: Rig) -> None:
    node = rig.add(Plain)
    rig.voice("words", String)(String(data="reasoned"))
    rig.until_status(node, State.ERROR, Reason.BAD_MESSAGE)


@pytest.mark.row(9)
def test_when_the_safe_action_raises_too_expect_error_and_the_node_alive(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = rig.add(Plain)
    monkeypatch.setattr(Plain, "fails_in", "safe_action")
    node.fail("a thread", RuntimeError("died"))
    assert node.status[:2] == (State.ERROR, Reason.CALLBACK_EXCEPTION) and "a thread" in node.status[2]


def test_when_a_callback_keeps_raising_expect_every_time_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = rig.hear("node_status", NodeStatus, qos.LATCHED)
    node = rig.add(Plain)
    monkeypatch.setattr(Plain, "fails_in", "tick")
    rig.until(lambda: node.counters["callback_exceptions"] >= 3, what="three failures")
    rig.until(lambda: heard and counters(heard[-1]).get("callback_exceptions", 0) >= 3, what="the count is published")
    assert len(node._guard.logged) == 1


@pytest.mark.parametrize("name", ["on_setup", "on_start"])
def test_when_a_transition_raises_expect_error_and_a_second_try_possible(
    rig: Rig, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plain, "fails_in", name)
    node = rig.add(Plain)
    assert node.status[0] == State.ERROR and name in node.status[2] and not node.active
    monkeypatch.setattr(Plain, "fails_in", "")
    if name == "on_setup":
        node.trigger_configure()
    node.trigger_activate()
    assert node.active and node.status[0] == State.READY


def test_when_the_life_is_repeated_expect_nothing_doubled(rig: Rig) -> None:
    node = rig.add(Plain)
    before = [len(list(kind)) for kind in (node.subscriptions, node.services, node.timers, node.publishers)]
    for _ in range(3):
        for step in (node.trigger_deactivate, node.trigger_cleanup, node.trigger_configure, node.trigger_activate):
            assert step().name == "SUCCESS"
    after = [len(list(kind)) for kind in (node.subscriptions, node.services, node.timers, node.publishers)]
    assert after == before and node.status[0] == State.READY


def test_when_closed_twice_expect_one_safe_action_and_finalized(rig: Rig) -> None:
    node = rig.add(Plain)
    node.close()
    node.close()
    assert node.calls.count("safe_action") == 1 and node.calls.count("on_teardown") == 1
    assert node.status[:2] == (State.FINALIZED, Reason.SHUTDOWN)


def test_when_a_set_makes_no_sense_as_a_whole_expect_refusal(rig: Rig) -> None:
    from rclpy.parameter import Parameter

    node = rig.add(Plain)
    refused = node.set_parameters([Parameter("gain", value=1.5)])[0]
    assert not refused.successful and "above limit" in refused.reason and node.param("gain") == 1.0
    both = [Parameter("limit", value=2.0), Parameter("gain", value=1.5)]
    assert node.set_parameters_atomically(both).successful and node.param("gain") == 1.5


def test_when_armed_expect_limits_locked_and_the_rest_free(rig: Rig) -> None:
    from rclpy.parameter import Parameter

    node = rig.add(Plain)
    node.armed = True
    refused = node.set_parameters([Parameter("limit", value=1.5)])[0]
    assert not refused.successful and "limit is locked while armed" in refused.reason
    assert node.set_parameters([Parameter("gain", value=0.5)])[0].successful
    fixed = node.set_parameters([Parameter("fixed", value=4)])[0]
    assert not fixed.successful and fixed.reason.startswith("fixed is fixed at start, it is 3")


@pytest.mark.parametrize("wrong", [2.5, -0.1, float("nan"), float("inf"), 2])
def test_when_a_value_is_refused_over_the_graph_expect_our_sentence_and_one_count(rig: Rig, wrong: float) -> None:
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    node = rig.add(Plain)
    request = SetParameters.Request(parameters=[Parameter("limit", value=wrong).to_parameter_msg()])
    client = rig.probe.create_client(SetParameters, "plain/set_parameters")
    rig.until(client.service_is_ready, what="the parameter service")
    future = client.call_async(request)
    rig.until(future.done, what="an answer")
    result = future.result().results[0]
    assert not result.successful and node.param("limit") == 1.0
    if isinstance(wrong, int):
        assert "Wrong parameter type" in result.reason  # while running ROS takes no int for a double
        return
    assert result.reason.startswith(f"limit = {wrong!r}: ") and node.counters["parameter_refused"] == 1
    assert ("finite" if wrong != wrong or wrong == float("inf") else "outside [0.0, 2.0]") in result.reason


# ---- every node of ours, by introspection --------------------------------------------------------------------------

NODES = {
    "observation_node": ("vla_policy", "ObservationNode", {}),
    "vla_node": ("vla_policy", "VlaNode", {"backend": "fake"}),
    "steering_node": ("vla_policy", "SteeringNode", {}),
    "arm_node": ("robot_bringup", "ArmNode", {}),
    "episode_node": ("robot_operation", "EpisodeNode", {}),
    "operator_node": ("robot_operation", "OperatorNode", {"device": "joy"}),
}


def build(rig: Rig, node: str) -> Any:
    """A node of ours by its name."""
    package, name, parameters = NODES[node]
    return rig.add(getattr(importlib.import_module(f"{package}.nodes.{node}"), name), **parameters)


@pytest.mark.parametrize("node", ["observation_node", "vla_node", "arm_node", "operator_node"])
def test_when_the_robot_file_lies_in_the_working_directory_expect_every_node_to_take_it(
    rig: Rig, node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = Path(get_package_share_directory("robot_bringup")) / "config" / "robots" / "sim_panda.yaml"
    shutil.copy(shipped, tmp_path / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(NODES, "operator_node", ("robot_operation", "OperatorNode", {"supervise": True}))
    package, name, parameters = NODES[node]
    monkeypatch.setitem(NODES, node, (package, name, parameters | {"robot_file": "./mine.yaml"}))
    assert build(rig, node).status[0] not in (State.ERROR, State.UNCONFIGURED)


@pytest.mark.row(9)
@pytest.mark.parametrize("node", NODES)
def test_when_any_callback_of_a_node_raises_expect_error_and_nothing_in_the_executor(
    rig: Rig, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards: dict[str, Any] = {}
    plain = WhetstoneNode.guarded

    def remember(self: WhetstoneNode, callback: Any, *, listed: bool = True) -> Any:
        wrapper = plain(self, callback, listed=listed)
        if listed and self._is_ours:
            guards[wrapper.__name__] = wrapper
        return wrapper

    monkeypatch.setattr(WhetstoneNode, "guarded", remember)
    made = build(rig, node)
    assert set(guards) == set(guarded_callbacks(made)) and len(guards) >= 3
    for name, guard in guards.items():
        made._guard.failing = f"{name}:{made._guard.calls[name] + 1}"
        failures = made.counters["callback_exceptions"]
        guard(object())
        assert made.counters["callback_exceptions"] == failures + 1, name
        assert made.status[1] == Reason.CALLBACK_EXCEPTION and name in made.status[2], (name, made.status)
        assert made.status[0] in (State.ERROR, State.STOPPED), name
