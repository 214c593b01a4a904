# SPDX-License-Identifier: Apache-2.0
"""One learner_node that two robots feed, each with a transition_node in its own namespace."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from vla_interfaces.msg import LearnerStatus, NodeStatus, PolicyContract, PolicyWeights, TransitionAck, WeightsAck

from experience.nodes.transition_node import TransitionNode
from fakes.policy_sets import whole_sets
from fakes.rl_runs import CONTRACT, HASH, episode, store, write_method
from harness.rig import Rig, counters
from rl_learner.nodes.learner_node import LearnerNode
from rl_methods.common.weights import PolicySet
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract

SPOOLS = {"left": 77, "right": 88}


class Robot:
    """What one robot says to the learner, and hears of it."""

    def __init__(self, rig: Rig, folder: Path, name: str) -> None:
        self.rig, self.folder, self.name = rig, folder / name, name
        self.pieces = rig.hear(f"/{name}/policy_weights", PolicyWeights, qos.WEIGHTS)
        self.acks = rig.hear(f"/{name}/transition_ack", TransitionAck)
        self.reports = rig.hear(f"/{name}/learner_status", LearnerStatus, qos.LATCHED)
        self.statuses = rig.hear(f"/{name}/node_status", NodeStatus, qos.LATCHED)
        self.agree = rig.voice(f"/{name}/policy_contract", PolicyContract, qos.LATCHED)
        self.answer = rig.voice(f"/{name}/weights_ack", WeightsAck)
        self.node: Any = None

    def feed(self, count: int, *, spool: int = 0) -> None:
        """A transition_node that holds episodes 1..count of this robot."""
        shift = 0 if self.name == "left" else 50
        made = [replace(t, episode=n) for n in range(1, count + 1) for t in episode(n + shift)]
        store(self.folder / "r", made, spool or SPOOLS[self.name])
        self.start()

    def start(self) -> None:
        """Start transition_node on what is stored."""
        make = functools.partial(TransitionNode, namespace=self.name)
        self.node = self.rig.add(make, directory=str(self.folder), run="r", window_steps=4, min_free_mb=0.0)

    def hears(self, state: State, reason: Reason = Reason.NONE) -> NodeStatus:
        """Wait until the newest status of its learner is that one."""
        wanted = (int(state), int(reason))

        def heard() -> list[NodeStatus]:
            newest = [s for s in self.statuses if s.node == f"/{self.name}/learner_node"][-1:]
            return [s for s in newest if (s.state, s.reason) == wanted]

        self.rig.until(heard, what=f"{self.name} hears {state.name} {reason.name}; {self.statuses[-1:]}")
        return heard()[0]

    def sets(self) -> list[PolicySet]:
        """Sets that have come whole, each of which a robot would take."""
        return whole_sets(self.pieces, HASH)

    def accept(self, version: int, *, accepted: bool = True) -> None:
        """Say what became of a set."""
        self.answer(
            WeightsAck(run="r", method="expo", version=version, accepted=accepted, reason="" if accepted else "old")
        )


class Pair:
    """Both robots, and one learner."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder, self.method = rig, folder, write_method(folder)
        self.left, self.right = (Robot(rig, folder, name) for name in SPOOLS)
        self.reports = rig.hear("learner_status", LearnerStatus, qos.LATCHED)

    def start(self, **parameters: Any) -> LearnerNode:
        values = {"directory": str(self.folder / "gpu"), "run": "r", "method_file": str(self.method), "candidates": 2}
        values |= {"capacity": 200, "max_pending_updates": 0, "publish_period_s": 0.05, "robots": list(SPOOLS)}
        return self.rig.add(LearnerNode, **(values | parameters))

    def end(self, node: Any) -> None:
        """End it with all that others see of it; the process of a test goes on."""
        assert node.trigger_deactivate().name == node.trigger_cleanup().name == "SUCCESS"

    def agree(self) -> None:
        for robot in (self.left, self.right):
            robot.agree(from_contract(CONTRACT))

    def wait_through(self, **through: int) -> None:
        """Until each transition_node knows that the learner has so many of its own."""
        nodes = {name: getattr(self, name).node for name in through}
        self.rig.until(
            lambda: all(nodes[name].counters["acknowledged"] == count for name, count in through.items()),
            what=f"{through}",
        )


@pytest.fixture
def pair(rig: Rig, tmp_path: Path) -> Pair:
    return Pair(rig, tmp_path)


def test_when_two_robots_feed_it_expect_each_transition_once_and_weights_for_both(pair: Pair) -> None:
    pair.left.feed(4)
    pair.right.feed(2)
    node = pair.start()
    pair.agree()
    pair.wait_through(left=12, right=6)
    run = node._worker.session
    pair.rig.until(lambda: node.counters["windows"] == 18 and not run.due, what="all updates")
    assert (node.counters["episodes"], node.counters["robot_steps"], node.counters["through"]) == (6, 72, 18)
    updates = run.learner.updates
    for robot, count in ((pair.left, 12), (pair.right, 6)):
        assert {ack.spool for ack in robot.acks} == {SPOOLS[robot.name]}
        assert robot.acks[-1].learner == f"/{robot.name}/learner_node"
        pair.rig.until(lambda robot=robot: robot.sets() and robot.sets()[-1].manifest.step == updates, what="the last")
        pair.rig.until(lambda r=robot, n=count: counters(r.hears(State.READY))["through"] == n == r.acks[-1].through)
    assert [s.manifest.version for s in pair.left.sets()] == [s.manifest.version for s in pair.right.sets()]


def test_when_the_robots_answer_to_weights_expect_it_counted_for_each_and_the_least_said_where_the_node_is(
    pair: Pair,
) -> None:
    pair.left.feed(2)
    pair.right.feed(2)
    node = pair.start()
    pair.agree()
    pair.rig.until(lambda: node.counters["weights_published"] >= 1, what="weights")
    pair.left.accept(1)
    pair.right.accept(1, accepted=False)

    def says(reports: list[LearnerStatus], version: int) -> bool:
        return bool(reports) and reports[-1].accepted_version == version

    pair.rig.until(lambda: says(pair.left.reports, 1), what="left has accepted")
    pair.rig.until(lambda: says(pair.right.reports, 0) and says(pair.reports, 0), what="right has not, nor have both")
    assert (pair.left.reports[-1].node, pair.reports[-1].node) == ("/left/learner_node", "/learner_node")
    pair.rig.until(lambda: pair.left.reports[-1].episodes == pair.reports[-1].episodes == 4, what="the same for all")
    pair.right.accept(2)
    pair.left.accept(2)
    pair.rig.until(lambda: says(pair.reports, 2), what="both have accepted")
    # A status comes once a second.
    pair.rig.until(
        lambda: counters(pair.right.hears(State.READY)).get("weights_refused") == 1, what="what right has refused"
    )


def test_when_one_joins_late_and_the_learner_is_started_again_expect_nothing_twice(pair: Pair) -> None:
    pair.left.feed(2)
    first = pair.start()
    pair.agree()
    pair.wait_through(left=6)
    pair.end(first)
    pair.right.feed(3)
    second = pair.start()
    pair.wait_through(left=6, right=9)
    pair.rig.until(lambda: second.counters["windows"] == 15, what="all")
    assert second.counters["episodes"] == 5
    # its recorder restarts with the same spool
    pair.end(pair.right.node)
    pair.right.start()
    pair.rig.turn(1.5)
    assert (second.counters["windows"], second.counters["through"]) == (15, 15)
    assert pair.right.hears(State.READY) and pair.left.hears(State.READY)


def test_when_the_spool_of_one_was_exchanged_expect_its_name_and_the_other_taken_in(pair: Pair) -> None:
    pair.left.feed(2)
    pair.right.feed(1)
    first = pair.start()
    pair.agree()
    pair.wait_through(left=6, right=3)
    pair.end(first)
    pair.end(pair.right.node)
    pair.right.folder = pair.folder / "another"
    pair.right.feed(2, spool=99)
    node = pair.start()
    assert "spool 99, this run's is 88" in pair.right.hears(State.HOLDING, Reason.BAD_MESSAGE).detail
    pair.rig.until(lambda: "right: spool 99" in node.status[2], what=f"the name; {node.status}")
    assert node.status[0] is State.READY and pair.left.hears(State.READY)
    assert (node.counters["windows"], node.counters["through"]) == (9, 9)


def test_when_the_policy_of_one_is_another_expect_it_told_and_the_other_taken_in(pair: Pair) -> None:
    node = pair.start()
    pair.left.agree(from_contract(CONTRACT))
    pair.rig.until(lambda: node._worker is not None, what="the run")
    pair.right.agree(from_contract(replace(CONTRACT, feature_dim=9)))
    assert "contract" in pair.right.hears(State.HOLDING, Reason.CONTRACT_MISMATCH).detail
    assert "right: contract" in node.status[2] and node.status[0] is State.READY
    pair.left.feed(2)
    pair.wait_through(left=6)
    assert pair.left.hears(State.READY)


def test_when_cleaned_up_and_configured_anew_expect_both_taken_in_once(pair: Pair) -> None:
    pair.left.feed(2)
    pair.right.feed(1)
    node = pair.start()
    pair.agree()
    pair.wait_through(left=6, right=3)
    for step in (node.trigger_deactivate, node.trigger_cleanup, node.trigger_configure, node.trigger_activate):
        assert step().name == "SUCCESS"
    assert node.count_publishers("/left/transition_ack") == 1
    pair.rig.until(lambda: len({ack.learner_epoch for ack in pair.left.acks}) == 1 and node.counters["through"] == 9)
    assert node.counters["windows"] == 9


def test_when_no_robot_is_named_as_a_launch_file_says_it_expect_its_own_namespace(pair: Pair) -> None:
    node = pair.start(robots=[""])
    assert node.count_publishers("/learner_status") == 1 and node.count_publishers("/left/learner_status") == 0


def test_when_a_robot_is_there_twice_expect_refusal(pair: Pair) -> None:
    with pytest.raises(ParameterError, match="different namespaces"):
        pair.start(robots=["left", "/left"])
