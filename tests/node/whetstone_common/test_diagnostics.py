# SPDX-License-Identifier: Apache-2.0
"""Every node's status on /diagnostics, as the tools of ROS read it."""

from __future__ import annotations

from typing import Any

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from harness.rig import Rig
from robot_operation.nodes.operator_node import OperatorNode
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes.diagnostics import diagnostics_of, level_of

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@pytest.mark.parametrize(
    ("state", "reason", "level"),
    [
        (State.READY, Reason.NONE, OK),
        (State.RUNNING, Reason.TAKEOVER, OK),
        (State.FINALIZED, Reason.SHUTDOWN, OK),
        (State.READY, Reason.DISARMED, WARN),
        (State.READY, Reason.INCOMPATIBLE_PUBLISHER, WARN),
        (State.STARTING, Reason.NONE, WARN),
        (State.HOLDING, Reason.MISSING_STREAM, WARN),
        (State.STOPPED, Reason.ESTOP, ERROR),
        (State.ERROR, Reason.NONE, ERROR),
    ],
)
def test_when_a_node_is_in_a_state_expect_the_level_that_asks_for_somebody(
    state: State, reason: Reason, level: bytes
) -> None:
    assert level_of(state, reason) == level


def test_when_a_node_holds_expect_its_name_reason_in_words_and_figures() -> None:
    status = (State.HOLDING, Reason.DISK_FULL, "0.4 MB free")
    values = {"episodes": 3, "critic/loss": 0.123456789}
    message = diagnostics_of("/left/transition_node", "bench", status, values, Time(sec=7))
    (entry,) = message.status
    assert (message.header.stamp.sec, entry.name, entry.hardware_id) == (7, "left/transition_node: status", "bench")
    assert entry.message == "holding, disk full: 0.4 MB free"
    assert {pair.key: pair.value for pair in entry.values} == {"episodes": "3", "critic/loss": "0.123457"}


def test_when_a_node_runs_expect_its_diagnostics_and_the_change_of_its_state(rig: Rig) -> None:
    heard: list[Any] = rig.hear("/diagnostics", DiagnosticArray)
    node = rig.add(OperatorNode, device="none")
    node.counters["takeovers"] = 4

    def entries(level: bytes) -> list[DiagnosticStatus]:
        return [m.status[0] for m in heard if m.status[0].level == level]

    rig.until(lambda: entries(OK), what="diagnostics of a node that works")
    last = entries(OK)[-1]
    assert last.name == "operator_node: status" and ("takeovers", "4") in {(v.key, v.value) for v in last.values}
    node.set_state(State.ERROR, Reason.OPERATOR_LOST, "no joystick")
    rig.until(lambda: entries(ERROR), what="diagnostics of the error")
    assert "no joystick" in entries(ERROR)[-1].message
