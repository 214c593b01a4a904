# SPDX-License-Identifier: Apache-2.0
"""A node that is busy for seconds says with what, and for how long."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from vla_interfaces.msg import NodeStatus

from harness.rig import Rig
from vla_policy.nodes import model_host
from vla_policy.nodes.vla_node import VlaNode
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import progress, qos
from whetstone_common.nodes.progress import Progress


class Lines:
    """What a node has logged at level info."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, node: VlaNode) -> None:
        self.said: list[str] = []
        monkeypatch.setattr(node.get_logger(), "info", self.said.append)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_TICK_S", 0.02)
    monkeypatch.setattr(progress, "_LOG_EVERY", 5)


def wait(condition: Any) -> None:
    """Wait without turning the executor, as a busy hook does."""
    end_s = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < end_s, "not in time"
        time.sleep(0.005)


def age(steps: Progress, by_s: float) -> bool:
    """Let the step have begun earlier than it did."""
    steps._began_s -= by_s
    return True


def test_when_a_step_lasts_expect_its_seconds_in_the_status_while_the_executor_is_busy(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = rig.add(VlaNode, begin=False, backend="fake")
    lines = Lines(monkeypatch, node)
    published: list[NodeStatus] = []
    monkeypatch.setattr(node._reporter.publisher, "publish", published.append)
    with Progress(node) as steps:
        steps.begin("loading model")
        wait(lambda: age(steps, 1.0) and len(published) > 12)
        steps._began_s = time.monotonic() - 12.0
        wait(lambda: node.status[2] == "loading model (12 s)")
        assert node.status[:2] == (State.STARTING, Reason.NONE)
    count = len(lines.said)
    assert lines.said[0] == "starting: loading model" and 2 <= count < len(published)


def test_when_the_work_is_over_expect_the_next_state_to_stay(rig: Rig) -> None:
    node = rig.add(VlaNode, begin=False, backend="fake")
    with Progress(node) as steps:
        steps.begin("loading model")
    node.set_state(State.ERROR, Reason.MODEL_FAILURE, "broken")
    assert not steps._thread.is_alive() and node.status == (State.ERROR, Reason.MODEL_FAILURE, "broken")


def test_when_a_busy_node_is_closed_by_another_thread_expect_finalized_to_stay(rig: Rig) -> None:
    node = rig.add(VlaNode, begin=False, backend="fake")
    with Progress(node) as steps:
        steps.begin("loading model")
        closing = threading.Thread(target=node.close)
        closing.start()
        closing.join(10.0)
        ticks = steps._ticks
        wait(lambda: steps._ticks > ticks + 3)
        steps.begin("warming up")
        assert node.status == (State.FINALIZED, Reason.SHUTDOWN, "")


def test_when_vla_node_starts_expect_each_step_and_ready_in_its_log(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    node = rig.add(VlaNode, begin=False, backend="fake")
    lines = Lines(monkeypatch, node)
    assert node.trigger_configure().name == "SUCCESS" and node.trigger_activate().name == "SUCCESS"
    steps = [line for line in lines.said if not line.endswith(" s)")]
    assert steps == ["starting", "starting: loading model", "starting: warming up", "ready"]
    node.trigger_deactivate()
    assert lines.said[-1] == "deactivated"


def test_when_a_model_cannot_be_loaded_expect_the_error_to_stay_in_words(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        time.sleep(0.1)
        raise ValueError("no such file")

    monkeypatch.setattr(model_host, "build_backend", broken)
    heard = rig.hear("node_status", NodeStatus, qos.LATCHED)
    node = rig.add(VlaNode, begin=False, backend="fake")
    assert node.trigger_configure().name == "FAILURE"
    rig.until(lambda: heard and heard[-1].state == NodeStatus.ERROR, what="ERROR")
    assert heard[-1].reason == NodeStatus.MODEL_FAILURE and "no such file" in heard[-1].detail
