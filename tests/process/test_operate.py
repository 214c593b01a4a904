# SPDX-License-Identifier: Apache-2.0
"""`whetstone arm`, `stop`, `estop`... against the real nodes."""

from __future__ import annotations

from json import loads

import pytest
from std_msgs.msg import Bool, String
from vla_interfaces.action import RunEpisodes

from harness.cells import arm_cell, full_cell
from harness.command_line import whetstone
from harness.until import until
from harness.watcher import LATCHED
from harness.world import World
from whetstone_common.core.stage_latency import SHOWN


@pytest.mark.cores(4)  # joint states that are late by 0.2 s stop this arm
def test_when_an_operator_uses_the_command_line_expect_the_arm_to_obey(world: World) -> None:
    cell = arm_cell(world)
    until(lambda: whetstone(world, "arm")[0] == 0, 30.0, "armed")
    cell.resume()
    cell.wait_moving()
    code, text = whetstone(world, "status")
    assert code == 0 and "arm_node" in text and "RUNNING" in text
    code, text = whetstone(world, "stop")
    assert code == 0 and "the arm holds" in text
    code, text = whetstone(world, "estop")
    assert code == 0 and world.watcher.latest("arm_node").reason == "ESTOP", text
    code, text = whetstone(world, "arm")
    assert code == 1 and "emergency stop" in text
    # The command that pressed has ended, so a reset is all that is left to do.
    until(lambda: whetstone(world, "reset")[0] == 0, 10.0, "reset")
    assert whetstone(world, "disarm")[0] == 0
    world.watcher.wait_state("arm_node", "READY", 5.0, reason="DISARMED")


def test_when_parameters_are_read_and_set_expect_values_refusals_and_ranges(world: World) -> None:
    world.node("vla_policy", "steering_node")
    world.wait_ready("steering_node")
    assert whetstone(world, "param", "set", "steering_node", "n_candidates", "4") == (
        0,
        "steering_node n_candidates = 4\n",
    )
    assert whetstone(world, "param", "get", "steering_node", "n_candidates") == (0, "4\n")
    code, text = whetstone(world, "param", "set", "steering_node", "n_candidates", "1000")
    assert code == 1 and "64" in text
    code, text = whetstone(world, "param", "get", "steering_node", "candidates")
    assert code == 1 and "n_candidates" in text
    code, text = whetstone(world, "param", "describe", "steering_node", "n_candidates")
    assert code == 0 and "integer" in text
    assert "execute_steps" in whetstone(world, "param", "list", "steering_node")[1]


@pytest.mark.cores(4)
def test_when_another_client_runs_a_goal_expect_stop_to_cancel_it_and_words_to_arrive(world: World) -> None:
    full_cell(world)
    words = world.watcher.listen(String, "instruction", LATCHED)
    goal = world.watcher.send_goal(RunEpisodes, "run_episodes", episodes=5, max_steps=400)
    result = goal.get_result_async()
    world.watcher.wait_state("arm_node", "RUNNING", 40.0)
    until(lambda: "denoise" in whetstone(world, "doctor", "--latency")[1], 30.0, "the first chunk")
    json = world.folder / "latency.json"
    code, text = whetstone(world, "doctor", "--latency", "--json", str(json))
    assert code == 0 and "request to chunk" in text
    stages = loads(json.read_text(encoding="utf-8"))["latency"]
    assert list(stages) == list(SHOWN)
    whole = sum(each["median_ms"] for stage, each in stages.items() if stage in SHOWN[1:-2])
    assert 0.0 < stages["denoise"]["median_ms"] < whole
    assert whole == pytest.approx(stages["request to chunk"]["median_ms"], rel=0.5)
    code, text = whetstone(world, "stop")
    assert code == 0 and "goals cancelled: 1" in text
    until(result.done, 20.0, "the goal ends")
    assert whetstone(world, "instruct", "put the green cube on the red plate")[0] == 0
    until(lambda: words and words[-1][1].data == "put the green cube on the red plate", 20.0, "the words")
    assert whetstone(world, "mark", "success")[0] == 0
    phases = world.watcher.listen(Bool, "critical_phase", LATCHED)
    # A command that has ended says nothing to who joins later: it is given again until this listener is known to it.
    said = lambda: whetstone(world, "critical", "off")[0] == 0 and phases and not phases[-1][1].data  # noqa: E731
    until(said, 30.0, "the operator's word")


def test_when_nothing_runs_expect_a_sentence_that_names_what_is_missing(world: World) -> None:
    code, text = whetstone(world, "arm")
    assert code == 1 and "no arm_node in ROS domain" in text and "Traceback" not in text
    code, text = whetstone(world, "doctor", "--latency")
    assert code == 1 and "no arm_node in ROS domain" in text and "Traceback" not in text
