# SPDX-License-Identifier: Apache-2.0
"""A method that the VLA cannot stand in for: steering_node holds with a reason until there are weights."""

from __future__ import annotations

import numpy as np
from vla_interfaces.msg import ActionChunk, Decision, Observation, PolicyContract, PolicyWeights, Proposal

from fakes.hil_serl import actor_set
from harness.rig import Rig
from harness.ring import HOME, contract, observation, request
from rl_methods.common.weights import split
from vla_policy.nodes.steering_node import SteeringNode
from vla_policy.nodes.weights_wire import from_piece
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import float32_field, from_contract

CONTRACT = contract()


def proposal(number: int) -> Proposal:
    chunks = np.random.default_rng(number).standard_normal((1, 16, 7), dtype=np.float32)
    asked = request(number)
    return Proposal(
        stamp=asked.stamp, kind=asked.kind, contract_hash=CONTRACT.hash(), n=1, horizon=16, action_dim=7,
        chunks=float32_field(chunks), noise=float32_field(chunks), features=float32_field(np.zeros(74)),
        proprio=float32_field(np.zeros(10)), tcp_pose=np.array([0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]),
        joint_positions=list(HOME), instruction="do it", request=asked,
    )  # fmt: skip


def test_when_there_are_no_weights_expect_nothing_played_and_a_reason_until_they_come(rig: Rig) -> None:
    chunks, decisions = rig.hear("action_chunk", ActionChunk), rig.hear("decision", Decision)
    node = rig.add(SteeringNode, method="hil_serl")
    rig.voice("policy_contract", PolicyContract, qos.LATCHED)(from_contract(CONTRACT))
    propose, observe = rig.voice("proposal", Proposal), rig.voice("observation", Observation)
    rig.until(lambda: node._contracts.bound, what="the contract")
    _, _, detail = rig.until_status(node, State.HOLDING, Reason.NO_WEIGHTS)
    assert detail == "hil_serl: no weights yet, plays nothing"
    observe(observation(1))
    propose(proposal(1))
    rig.until(lambda: node.counters["proposal_without_weights"] == 1, what="the proposal heard")
    assert node.status[:2] == (State.HOLDING, Reason.NO_WEIGHTS) and not chunks and not decisions
    manifest, data = actor_set(CONTRACT)
    send = rig.voice("policy_weights", PolicyWeights, qos.WEIGHTS)
    pieces = split(data)
    for index, piece in enumerate(pieces):
        send(from_piece(manifest, index, len(pieces), piece))
    rig.until_status(node, State.READY)
    observe(observation(2))
    propose(proposal(2))
    chunk = rig.until(lambda: chunks and chunks[0], what="a chunk of the actor")
    assert (chunk.candidate, chunk.kind, chunk.policy_version) == (-1, Decision.ACTOR, 1)
    decision = rig.until(lambda: decisions and decisions[0], what="its decision")
    assert decision.chosen == -1 and len(decision.images) > 0 and decision.method == "hil_serl"
