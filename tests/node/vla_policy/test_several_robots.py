# SPDX-License-Identifier: Apache-2.0
"""One vla_node that serves two robots: each has its own topics, its own noise and its own troubles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Bool, String
from vla_interfaces.msg import Features, NodeStatus, Observation, PolicyContract, Proposal
from vla_interfaces.srv import LoadModel

from fakes.toy_models import other_expert, toy_model
from harness.rig import Rig, counters
from harness.ring import contract, observation
from vla_policy.core.serving import weights_sha256
from vla_policy.nodes.vla_node import VlaNode
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import float32_field

SIDES = ("left", "right")


class Robot:
    """What one robot says to vla_node, and hears of it."""

    def __init__(self, rig: Rig, name: str) -> None:
        self.rig, self.name = rig, name
        self.proposals = rig.hear(f"/{name}/proposal", Proposal)
        self.features = rig.hear(f"/{name}/features", Features)
        self.statuses = rig.hear(f"/{name}/node_status", NodeStatus, qos.LATCHED)
        self.contracts = rig.hear(f"/{name}/policy_contract", PolicyContract, qos.LATCHED)
        self.see = rig.voice(f"/{name}/observation", Observation)
        self.say = rig.voice(f"/{name}/instruction", String, qos.LATCHED)

    def hears(self, state: State, reason: Reason = Reason.NONE) -> NodeStatus:
        """Wait until the newest status is that one."""
        wanted = (int(state), int(reason))
        self.rig.until(
            lambda: self.statuses and (self.statuses[-1].state, self.statuses[-1].reason) == wanted,
            what=f"{self.name} hears {state.name} {reason.name}, it heard {self.statuses[-1:]}",
        )
        return self.statuses[-1]

    def count(self, counter: str) -> int:
        """A counter of its newest status."""
        return counters(self.statuses[-1]).get(counter, 0)


class Pair:
    """Both robots and the node."""

    def __init__(self, rig: Rig, **parameters: Any) -> None:
        self.rig = rig
        self.left, self.right = robots = [Robot(rig, name) for name in SIDES]
        self.node = rig.add(
            VlaNode, **({"backend": "fake", "fake_pattern": "noise", "robots": list(SIDES)} | parameters)
        )
        for robot in robots:
            robot.hears(State.READY)

    def ask(self, number: int, **right: Any) -> None:
        """Both ask, and both are answered."""
        before = [len(robot.proposals) for robot in (self.left, self.right)]
        self.left.see(observation(number))
        self.right.see(observation(number, **right))
        self.rig.until(
            lambda: all(
                len(robot.proposals) > count for robot, count in zip((self.left, self.right), before, strict=True)
            ),
            what=f"both are answered; {self.node.counters}",
        )


def test_when_two_robots_ask_expect_each_answered_with_its_own_noise_as_if_it_were_alone(rig: Rig) -> None:
    alone = rig.hear("proposal", Proposal)
    single = rig.add(VlaNode, backend="fake", fake_pattern="noise")
    rig.voice("observation", Observation)(observation(1, seed=11))
    rig.until(lambda: alone, what="the answer of a vla_node with one robot")
    single.trigger_deactivate()

    pair = Pair(rig, batch_window_s=0.1)
    pair.ask(1, seed=11)
    assert pair.left.proposals[0].request.seed == 7 and pair.right.proposals[0].request.seed == 11
    assert list(pair.right.proposals[0].chunks) == list(alone[0].chunks) != list(pair.left.proposals[0].chunks)
    for robot in (pair.left, pair.right):
        assert robot.contracts[-1].contract_hash == contract().hash() == robot.proposals[0].contract_hash
        rig.until(lambda robot=robot: robot.features, what="features")
        assert robot.statuses[-1].node == f"/{robot.name}/vla_node"


def test_when_both_wait_expect_one_batch(rig: Rig) -> None:
    pair = Pair(rig, fake_prefix_delay_s=0.5)
    for number in (1, 2, 3):
        pair.left.see(observation(number))
        pair.right.see(observation(number))
    rig.until(lambda: all(r.proposals and r.proposals[-1].stamp.request_id == 3 for r in (pair.left, pair.right)))
    rig.until(lambda: pair.right.count("proposals") >= 1, what="the counters")
    assert pair.node.counters["batches"] <= 3  # one may have begun with the first observation alone


def test_when_one_floods_expect_the_other_served_in_turn(rig: Rig) -> None:
    pair = Pair(rig, fake_prefix_delay_s=0.2, max_batch=1)
    pair.left.see(observation(1))
    rig.until(lambda: pair.node._worker.is_idle, what="work on the first one")
    for number in range(2, 30):
        pair.left.see(observation(number))
    pair.right.see(observation(1))
    rig.until(lambda: pair.right.proposals, what="the other's answer")
    assert len(pair.left.proposals) <= 2


@pytest.mark.row(9)
def test_when_one_robot_sends_what_does_not_fit_expect_it_told_and_the_other_served(rig: Rig) -> None:
    pair = Pair(rig)
    bad = observation(1)
    bad.proprio = [float("nan")] * 10
    pair.left.see(bad)
    pair.right.see(observation(1))
    assert "proprio is not finite" in pair.left.hears(State.HOLDING, Reason.BAD_MESSAGE).detail
    rig.until(lambda: pair.right.proposals, what="the other's answer")
    assert State(pair.right.statuses[-1].state) is State.READY and pair.node.status[0] is State.READY
    pair.left.hears(State.READY)
    pair.ask(2)


def test_when_the_model_cannot_take_the_words_of_one_expect_that_one_to_hold(rig: Rig) -> None:
    pair = Pair(rig, fake_max_words=8)
    pair.left.say(String(data="put the red cube down on the blue plate"))
    assert "has 9 words, at most 8" in pair.left.hears(State.HOLDING, Reason.BAD_MESSAGE).detail
    pair.right.see(observation(1))
    rig.until(lambda: pair.right.proposals, what="the other's answer")
    assert all(State(status.state) is not State.HOLDING for status in pair.right.statuses)


def test_when_the_model_fails_with_one_robot_expect_that_one_given_up_and_the_other_served(rig: Rig) -> None:
    pair = Pair(rig, execution="rtc", max_failures=2, batch_window_s=0.1)
    for number in (1, 2):
        bad = observation(number)
        bad.request.committed = float32_field(np.full((2, 7), np.nan, np.float32))
        bad.request.committed_steps, bad.request.committed_reference = 2, bad.tcp_pose
        pair.left.see(bad)
        pair.right.see(observation(number))
        rig.until(lambda n=number: len(pair.right.proposals) == n, what=f"the other's answer {number}")
    rig.until(lambda: pair.left.count("model_failures") == 2, what="two failures")
    assert "not tried again" in pair.left.hears(State.ERROR, Reason.MODEL_FAILURE).detail
    pair.left.see(observation(3))
    rig.until(lambda: pair.left.count("observation_refused") == 1, what="refusal")
    assert not pair.left.proposals and State(pair.right.statuses[-1].state) is State.READY
    assert pair.node.status[0] is State.READY


def test_when_the_noise_of_both_does_not_come_expect_one_deadline_and_not_two(rig: Rig) -> None:
    pair = Pair(rig, steer_deadline_s=1.0, batch_window_s=0.1)
    for robot in (pair.left, pair.right):
        rig.voice(f"/{robot.name}/steer_noise", Bool, qos.LATCHED)(Bool(data=True))
    rig.until(lambda: all(robot.noise.steers_noise for robot in pair.node._robots), what="the word")
    pair.ask(1)
    proposals = [pair.left.proposals[0], pair.right.proposals[0]]
    assert all(proposal.noise_timed_out for proposal in proposals)
    if pair.node.counters["batches"] == 1:
        assert all(1.0 <= proposal.times.noise_s < 1.8 for proposal in proposals)


def test_when_diagnostics_are_read_expect_every_robot_by_name(rig: Rig) -> None:
    heard = rig.hear("/diagnostics", DiagnosticArray, qos.DIAGNOSTICS)
    Pair(rig)
    wanted = {"vla_node: status", "left/vla_node: status", "right/vla_node: status"}
    rig.until(lambda: wanted <= {status.name for msg in heard for status in msg.status}, what="all three")


def test_when_another_vla_node_speaks_to_a_robot_expect_it_told(rig: Rig) -> None:
    pair = Pair(rig)
    rig.probe.create_publisher(Proposal, "/left/proposal", qos.RING)
    assert "2 publishers" in pair.left.hears(State.READY, Reason.SECOND_SOURCE).detail
    assert Reason(pair.right.statuses[-1].reason) is Reason.NONE


def test_when_the_node_ends_expect_both_robots_told(rig: Rig) -> None:
    pair = Pair(rig)
    pair.node.close()
    for robot in (pair.left, pair.right):
        robot.hears(State.FINALIZED, Reason.SHUTDOWN)


def test_when_cleaned_up_and_configured_anew_expect_one_proposal_for_each_robot(rig: Rig) -> None:
    pair = Pair(rig)
    pair.ask(1)
    node = pair.node
    for step in (node.trigger_deactivate, node.trigger_cleanup, node.trigger_configure, node.trigger_activate):
        assert step().name == "SUCCESS"
    rig.until(lambda: node.count_publishers("/left/observation") == 1)
    pair.ask(2)
    rig.turn(0.3)
    assert [len(robot.proposals) for robot in (pair.left, pair.right)] == [2, 2]


@pytest.mark.parametrize(
    ("robots", "words"),
    [(["left", "/left"], "different"), (["left", ""], "none of them empty"), (["1st"], "no digit first")],
)
def test_when_the_robots_are_no_namespaces_expect_refusal(rig: Rig, robots: list[str], words: str) -> None:
    with pytest.raises(ParameterError, match=f"robots.*{words}"):
        rig.add(VlaNode, backend="fake", robots=robots)


@pytest.mark.timeout(300)
def test_when_another_model_comes_expect_both_robots_told_and_served_by_it(rig: Rig, tmp_path: Path) -> None:
    model = toy_model(tmp_path / "model")
    new = other_expert(model, tmp_path / "new")
    pair = Pair(rig, backend="pocket", model_dir=str(model), batch_window_s=0.1)
    client = rig.probe.create_client(LoadModel, "/vla_node/load_model")
    rig.until(client.service_is_ready, what="the service")
    wanted = LoadModel.Request(directory=str(new), sha256=weights_sha256(new))

    def is_served() -> bool:
        future = client.call_async(wanted)
        rig.until(future.done, what="an answer")
        return bool(future.result().state == LoadModel.Response.SERVING)

    rig.until(is_served, 60.0, what="the new model")
    for robot in (pair.left, pair.right):
        rig.until(lambda robot=robot: robot.contracts[-1].weights_sha256 == wanted.sha256, what="its name")
    pair.left.see(observation(1, size=24))
    pair.right.see(observation(1, size=24))
    rig.until(lambda: pair.left.proposals and pair.right.proposals, what="both are answered")
