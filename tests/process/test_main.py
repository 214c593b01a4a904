# SPDX-License-Identifier: Apache-2.0
"""The entry point of all nodes: signals end it in order, wrong parameters keep it from starting."""

from __future__ import annotations

import signal

import pytest

from harness.until import until
from harness.world import World


@pytest.mark.row(8)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_a_node_is_asked_to_end_expect_finalized_and_exit_code_zero(world: World, number: signal.Signals) -> None:
    proc = world.node("vla_policy", "steering_node")
    world.wait_ready("steering_node")
    proc.send(number)
    # Impatience must not cut the stop short.
    proc.send(number)
    assert proc.wait_exit(20.0) == 0
    assert "shut down" in proc.tail() and "Traceback" not in proc.tail()


@pytest.mark.row(47)
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"execute_steps": 0}, ("execute_steps", "[1, 1000]")),
        ({"valid_for_s": float("nan")}, ("valid_for_s", "finite")),
        ({"method": "magic"}, ("method", "magic")),
        ({"no_such_parameter": 1}, ("unknown parameter", "no_such_parameter")),
    ],
)
def test_when_a_parameter_is_wrong_expect_refusal_to_start_that_names_it(
    world: World, parameters: dict, words: tuple[str, ...]
) -> None:
    proc = world.node("vla_policy", "steering_node", parameters=parameters)
    assert proc.wait_exit(30.0) == 2
    assert all(word in proc.tail() for word in words) and "Traceback" not in proc.tail()


def test_when_a_node_starts_slowly_expect_its_timers_to_go_on_afterwards(world: World) -> None:
    world.node("vla_policy", "vla_node", parameters={"backend": "fake"})
    world.wait_ready("vla_node")
    seen = len(world.watcher.statuses)
    until(lambda: len(world.watcher.statuses) >= seen + 3, 20.0, "three more statuses")


@pytest.mark.parametrize("node", ["vla_node", "steering_node"])
def test_when_a_parameter_is_set_from_outside_expect_it_taken_or_refused_with_a_reason(world: World, node: str) -> None:
    world.node("vla_policy", node, parameters={"backend": "fake"} if node == "vla_node" else None)
    world.wait_ready(node)
    assert world.watcher.set_parameters(node, n_candidates=4)[0].successful
    refused = world.watcher.set_parameters(node, n_candidates=1000)[0]
    assert not refused.successful and "n_candidates = 1000" in refused.reason and "64" in refused.reason


def test_when_a_node_of_the_same_name_runs_expect_the_second_refused_by_host_and_process(world: World) -> None:
    first = world.node("vla_policy", "steering_node")
    world.wait_ready("steering_node")
    second = world.node("vla_policy", "steering_node", name="second_steering_node")
    assert second.wait_exit(30.0) == 3
    assert "/steering_node runs already" in second.tail() and f"process {first.pid} on host" in second.tail()
    assert "Traceback" not in second.tail()
    assert world.watcher.statuses[-1].state == "READY"


def test_when_two_nodes_of_one_name_meet_expect_both_to_say_so(world: World) -> None:
    for name in ("one", "two"):
        world.node("vla_policy", "steering_node", name=name, parameters={"second_node_check_s": 0.0})
    status = world.watcher.wait_state("steering_node", "ERROR", 60.0, reason="SECOND_NODE")
    assert "two of them" in status.detail and "process" in status.detail
