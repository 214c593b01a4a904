# SPDX-License-Identifier: Apache-2.0
"""The three nodes together: one request in, one chunk out, the same each time."""

from __future__ import annotations

import numpy as np
from rclpy.parameter import Parameter
from vla_interfaces.msg import ActionChunk, Decision, Request

from harness.rig import Rig
from harness.ring import HOME, JOINTS, Surroundings, contract, joint_state, request
from vla_policy.nodes.observation_node import ObservationNode
from vla_policy.nodes.steering_node import SteeringNode
from vla_policy.nodes.vla_node import VlaNode
from whetstone_common.core.reason import State


def start(rig: Rig, **vla: object) -> Surroundings:
    """Three nodes around a fake model, and a robot."""
    nodes = [
        # A loaded machine may take long between a tick and the request; age has tests of its own.
        rig.add(ObservationNode, obs_max_age_s=15.0, reliable_images=True),
        rig.add(VlaNode, **({"backend": "fake", "fake_pattern": "noise"} | vla)),
        rig.add(SteeringNode),
    ]
    around = Surroundings(rig)
    around.introduce()
    around.tick()
    for node in nodes:
        rig.until_status(node, State.READY)
    return around


def test_when_the_arm_asks_expect_one_chunk_with_the_stamp_of_the_request(rig: Rig) -> None:
    chunks, decisions = rig.hear("action_chunk", ActionChunk), rig.hear("decision", Decision)
    around = start(rig)
    around.tick()
    around.ask(request(1))
    chunk = rig.until(lambda: chunks and decisions and chunks[0], what="a chunk")
    assert (chunk.stamp.epoch, chunk.stamp.episode, chunk.stamp.request_id) == (1, 1, 1)
    assert chunk.contract_hash == contract().hash()
    assert chunk.horizon == 16 and len(chunk.actions) == 16 * 7 and chunk.execute_steps == 8
    assert chunk.source == "/steering_node" and chunk.valid_for_s > 0.0
    assert abs(np.linalg.norm(np.array(chunk.reference)[3:]) - 1.0) < 1e-9
    assert len(decisions[0].features) == 74 and decisions[0].method == "none"
    rig.turn(0.2)
    assert len(chunks) == 1


def test_when_the_same_seed_and_sequence_come_again_expect_the_same_chunk_to_the_bit(rig: Rig) -> None:
    chunks = rig.hear("action_chunk", ActionChunk)
    around = start(rig)
    for number in (1, 2):
        asked = request(number, seed=11)
        asked.stamp.sequence = 5
        around.tick()
        around.ask(asked)
        rig.until(lambda n=number: len(chunks) == n, what="a chunk")
    assert chunks[0].actions == chunks[1].actions


def test_when_more_candidates_are_wanted_expect_them_and_the_same_first_one(rig: Rig) -> None:
    decisions = rig.hear("decision", Decision)
    around = start(rig)
    steering = rig.nodes[2]
    for number, wanted in ((1, 1), (2, 8)):
        asked = request(number)
        asked.stamp.sequence = 3
        result = steering.set_parameters([Parameter("n_candidates", value=wanted)])
        assert result[0].successful, result[0].reason
        rig.until(lambda w=wanted: rig.nodes[1]._robots[0].noise.candidate_count == w, what="the wish arrives")
        around.tick()
        around.ask(asked)
        rig.until(lambda n=number: len(decisions) == n, what="a decision")
    assert [d.n for d in decisions] == [1, 8]
    assert decisions[0].chosen_chunk == decisions[1].chosen_chunk


def test_when_the_request_is_a_look_expect_a_decision_and_no_chunk(rig: Rig) -> None:
    chunks, decisions = rig.hear("action_chunk", ActionChunk), rig.hear("decision", Decision)
    around = start(rig)
    around.tick()
    around.ask(request(1, kind=Request.QUERY_ONLY))
    rig.until(lambda: decisions, what="a decision")
    rig.turn(0.2)
    assert not chunks and decisions[0].request_kind == Request.QUERY_ONLY


def test_when_joints_are_named_in_another_order_expect_the_same_proprioception(rig: Rig) -> None:
    decisions = rig.hear("decision", Decision)
    around = start(rig)
    for number, order in ((1, range(8)), (2, reversed(range(8)))):
        order = list(order)
        stamp_ns = around.tick() + 1_000_000
        names, positions = (tuple(source[i] for i in order) for source in (JOINTS, HOME))
        around.joints(joint_state(stamp_ns, positions, names))
        around.ask(request(number))
        rig.until(lambda n=number: len(decisions) == n, what="a decision")
    assert decisions[0].proprio == decisions[1].proprio
