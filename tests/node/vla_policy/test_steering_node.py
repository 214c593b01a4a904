# SPDX-License-Identifier: Apache-2.0
"""The steering node: what it passes on, and what it refuses by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rclpy.parameter import Parameter
from std_msgs.msg import Bool, UInt32
from vla_interfaces.msg import ActionChunk, Decision, Features, Noise, Observation, PolicyContract, Proposal

from harness.rig import Rig
from harness.ring import HOME, contract, observation, request
from rl_methods.base import ChunkSource, PolicyInput, PolicyOutput, RuntimeConfig
from rl_methods.registry import METHODS, MethodEntry
from vla_policy.core.stacked_images import decoded
from vla_policy.nodes.steering_node import SteeringNode
from whetstone_common.core.contract import Contract
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import float32_field, from_contract

CONTRACT = replace(contract(), action_scale=(2.0,) * 7, action_offset=(0.5,) * 7)
CHANGES: dict[str, Any] = {
    "action_scale": (3.0,) * 7,
    "action_offset": (0.0,) * 7,
    "action_names": tuple("abcdefg"),
    "proprio_names": tuple("abcdefghij"),
    "cameras": ("wrist",),
    "image_height": 64,
    "image_width": 64,
    "horizon": 8,
    "feature_dim": 10,
    "dt_s": 0.1,
    "joint_names": tuple("abcdefgh"),
    "action_space": "joint",
}


def proposal(number: int, agreed: Contract = CONTRACT, **fields: Any) -> Proposal:
    """What vla_node would publish."""
    chance = np.random.default_rng(number)
    chunks = chance.standard_normal((2, 16, 7), dtype=np.float32)
    asked = request(number)
    msg = Proposal(
        stamp=asked.stamp,
        kind=asked.kind,
        contract_hash=agreed.hash(),
        n=2,
        horizon=16,
        action_dim=7,
        chunks=float32_field(chunks),
        noise=float32_field(chunks),
        features=float32_field(np.zeros(74)),
        proprio=float32_field(np.zeros(10)),
        tcp_pose=np.array([0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]),
        joint_positions=list(HOME),
        instruction="do it",
        request=asked,
    )
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


class Steered:
    """A steering_node and what it publishes."""

    def __init__(self, rig: Rig, **parameters: object) -> None:
        self.rig = rig
        self.chunks = rig.hear("action_chunk", ActionChunk)
        self.decisions = rig.hear("decision", Decision)
        self.node = rig.add(SteeringNode, **parameters)
        self.propose = rig.voice("proposal", Proposal)
        self.agree = rig.voice("policy_contract", PolicyContract, qos.LATCHED)
        self.agree(from_contract(CONTRACT))
        rig.until(lambda: self.node._contracts.bound, what="the contract")


def test_when_a_proposal_comes_expect_the_first_candidate_in_physical_units(rig: Rig) -> None:
    steered = Steered(rig)
    given = proposal(1)
    steered.propose(given)
    chunk = rig.until(lambda: steered.chunks and steered.chunks[0], what="a chunk")
    wanted = np.array(given.chunks[: 16 * 7]) * 2.0 + 0.5
    assert np.allclose(chunk.actions, wanted)
    assert list(chunk.action_names) == list(CONTRACT.action_names) and chunk.space == ActionChunk.CARTESIAN
    assert np.allclose(chunk.reference, given.tcp_pose) and np.isnan(chunk.value) and chunk.candidate == 0
    decision = rig.until(lambda: steered.decisions and steered.decisions[0], what="a decision")
    assert decision.candidates == given.chunks and decision.n == 2 and len(decision.scores) == 0
    assert decision.chosen_chunk == given.chunks[: 16 * 7]


def test_when_parameters_are_turned_expect_them_in_the_next_chunk_and_the_wish_published(rig: Rig) -> None:
    steered = Steered(rig)
    wishes = rig.hear("n_candidates", UInt32, qos.LATCHED)
    changes = {"execute_steps": 99, "valid_for_s": 0.25, "n_candidates": 4}
    results = steered.node.set_parameters([Parameter(name, value=value) for name, value in changes.items()])
    assert all(result.successful for result in results)
    rig.until(lambda: wishes and wishes[-1].data == 4, what="the wish")
    steered.propose(proposal(1))
    chunk = rig.until(lambda: steered.chunks and steered.chunks[0], what="a chunk")
    assert chunk.execute_steps == 16 and chunk.valid_for_s == 0.25


def test_when_the_encoder_sees_images_expect_them_in_decisions_and_both_messages_awaited(rig: Rig) -> None:
    steered = Steered(rig, encoder="images")
    observe = rig.voice("observation", Observation)
    observe(seen := observation(1))
    steered.propose(proposal(1))
    decision = rig.until(lambda: steered.decisions and steered.decisions[0], what="a decision")
    wanted = [np.array(image.data, np.uint8).reshape(96, 96, 3) for image in seen.images]
    assert np.array_equal(decoded(decision.images, 2), wanted)
    steered.propose(proposal(2))
    rig.until(lambda: steered.node._images.is_waiting, what="the proposal that was faster than its images")
    assert len(steered.chunks) == 1
    observe(observation(2))
    rig.until(lambda: len(steered.chunks) == len(steered.decisions) == 2, what="its chunk")


def test_when_the_encoder_sees_images_of_another_size_expect_refusal_that_says_both(rig: Rig) -> None:
    steered = Steered(rig, encoder="images")
    rig.voice("observation", Observation)(observation(1, size=32))
    _, _, detail = rig.until_status(steered.node, State.HOLDING, Reason.BAD_MESSAGE)
    assert detail == "images: (96, 96) px here, (32, 32) there"


def test_when_the_method_sees_features_expect_no_images_read_or_sent(rig: Rig) -> None:
    steered = Steered(rig)
    steered.propose(proposal(1))
    decision = rig.until(lambda: steered.decisions and steered.decisions[0], what="a decision")
    assert len(decision.images) == 0 and rig.probe.count_subscribers("observation") == 0


@pytest.mark.row(21)
@pytest.mark.parametrize("name", CHANGES)
def test_when_a_contract_differs_in_one_field_expect_refusal_that_names_it(rig: Rig, name: str) -> None:
    steered = Steered(rig)
    changes = {name: CHANGES[name]}
    if name == "action_space":
        changes |= {"proprio_names": CONTRACT.proprio_names}
    other = replace(CONTRACT, **changes)
    steered.agree(from_contract(other))
    _, _, detail = rig.until_status(steered.node, State.HOLDING, Reason.CONTRACT_MISMATCH)
    assert detail.startswith(name)
    steered.propose(proposal(1, agreed=other))
    rig.until(lambda: steered.node.counters["proposal_refused"] == 1, what="refusal")
    assert steered.node.status[2].startswith(name) and not steered.chunks and not steered.decisions
    steered.propose(proposal(2))
    rig.until(lambda: steered.chunks, what="a chunk of the agreed contract")
    assert steered.node.status[0] == State.READY


def test_when_a_contract_lies_about_its_hash_expect_refusal(rig: Rig) -> None:
    steered = Steered(rig)
    msg = from_contract(CONTRACT)
    msg.horizon = 8
    steered.agree(msg)
    rig.until(lambda: steered.node.counters["contract_bad"] == 1, what="refusal")
    assert steered.node._contracts.bound == CONTRACT


@pytest.mark.row(19)
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chunks": [float("nan")] * (2 * 16 * 7)}, Reason.NOT_FINITE),
        ({"noise": [float("inf")] * (2 * 16 * 7)}, Reason.NOT_FINITE),
        ({"features": [float("nan")] * 74}, Reason.NOT_FINITE),
        ({"proprio": [float("nan")] * 10}, Reason.NOT_FINITE),
        ({"chunks": [0.0] * 10}, Reason.BAD_MESSAGE),
        ({"n": 3}, Reason.BAD_MESSAGE),
        ({"n": 0, "chunks": [], "noise": []}, Reason.BAD_MESSAGE),
        ({"n": 2**32 - 1}, Reason.BAD_MESSAGE),
        ({"horizon": 8}, Reason.BAD_MESSAGE),
        ({"action_dim": 8}, Reason.BAD_MESSAGE),
        ({"features": [0.0] * 73}, Reason.BAD_MESSAGE),
        ({"proprio": []}, Reason.BAD_MESSAGE),
    ],
)
def test_when_a_proposal_cannot_be_played_expect_refusal_and_the_next_one_played(
    rig: Rig, fields: dict[str, Any], reason: Reason
) -> None:
    steered = Steered(rig)
    steered.propose(proposal(1, **fields))
    rig.until_status(steered.node, State.HOLDING, reason)
    assert not steered.chunks and steered.node.counters["proposal_bad"] == 1
    steered.propose(proposal(2))
    rig.until(lambda: steered.chunks, what="a chunk")


def test_when_nothing_is_proposed_after_a_refusal_expect_ready_again(rig: Rig) -> None:
    steered = Steered(rig)
    steered.propose(proposal(1, horizon=8))
    rig.until_status(steered.node, State.HOLDING)
    rig.until_status(steered.node, State.READY)


@pytest.mark.row(22)
def test_when_a_proposal_is_repeated_or_older_expect_one_chunk(rig: Rig) -> None:
    steered = Steered(rig)
    for number in (3, 3, 2, 1):
        steered.propose(proposal(number))
    rig.until(lambda: steered.node.counters["proposal_old"] == 3, what="three counted")
    assert [chunk.stamp.request_id for chunk in steered.chunks] == [3]


def test_when_no_contract_was_received_expect_refusal_that_says_so(rig: Rig) -> None:
    node = rig.add(SteeringNode)
    rig.voice("proposal", Proposal)(proposal(1))
    _, _, detail = rig.until_status(node, State.HOLDING, Reason.CONTRACT_MISMATCH)
    assert "no policy_contract" in detail


def test_when_there_is_no_contract_yet_expect_ready_that_says_so_until_it_comes(rig: Rig) -> None:
    node = rig.add(SteeringNode)
    rig.until_status(node, State.READY, Reason.NO_CONTRACT)
    rig.voice("policy_contract", PolicyContract, qos.LATCHED)(from_contract(CONTRACT))
    rig.until_status(node, State.READY, Reason.NONE)


def test_when_the_contract_comes_after_the_first_proposal_expect_it_answered_then(rig: Rig) -> None:
    chunks = rig.hear("action_chunk", ActionChunk)
    node = rig.add(SteeringNode)
    rig.voice("proposal", Proposal)(proposal(1))
    rig.until_status(node, State.HOLDING, Reason.CONTRACT_MISMATCH)
    rig.voice("policy_contract", PolicyContract, qos.LATCHED)(from_contract(CONTRACT))
    rig.until(lambda: chunks, what="the chunk")
    assert [chunk.stamp.request_id for chunk in chunks] == [1]
    rig.until_status(node, State.READY)


def test_when_the_method_is_unknown_expect_refusal_to_start(rig: Rig) -> None:
    with pytest.raises(ValueError, match=r"method = 'magic'.*none"):
        rig.add(SteeringNode, method="magic")


class NoiseMethod:
    """Steers the noise by the features, and plays the last candidate."""

    def act(self, situation: PolicyInput, _tuning: RuntimeConfig) -> PolicyOutput:
        return PolicyOutput(
            situation.candidates[-1], len(situation.candidates) - 1, ChunkSource.NOISE_STEERED, value=0.5
        )

    def noise(
        self, features: np.ndarray, shape: tuple[int, int, int], seed: int, sequence: int, _tuning: RuntimeConfig
    ) -> np.ndarray:
        return np.full(shape, features[0] + seed + sequence, np.float32)


def test_when_a_method_steers_noise_expect_it_published_for_the_same_lap(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "noisy", MethodEntry("", f"{__name__}:NoiseMethod"))
    steered = Steered(rig, method="noisy", n_candidates=3)
    noises = rig.hear("noise", Noise)
    from vla_interfaces.msg import Request

    rig.voice("request", Request)(request(1, seed=40))
    rig.until(lambda: steered.node._noise.seed == 40, what="the seed")
    given = Features(features=float32_field(np.ones(74)), contract_hash=CONTRACT.hash(), noise_expected=True)
    given.stamp = request(2).stamp
    rig.voice("features", Features)(given)
    noise = rig.until(lambda: noises and noises[0], what="noise")
    assert (noise.n, noise.horizon, noise.action_dim) == (3, 16, 7) and set(noise.noise) == {42.0}
    assert noise.stamp == given.stamp
    steered.propose(proposal(2))
    chunk = rig.until(lambda: steered.chunks and steered.chunks[0], what="a chunk")
    assert (chunk.candidate, chunk.kind, chunk.value) == (1, ActionChunk.CARTESIAN + 2, 0.5)


class Broken:
    """Raises at its first decision."""

    def __init__(self) -> None:
        self.calls = 0

    def act(self, situation: PolicyInput, _tuning: RuntimeConfig) -> PolicyOutput:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("no idea")
        return PolicyOutput(situation.candidates[0], 0)


@pytest.mark.row(9)
def test_when_a_method_raises_expect_error_no_chunk_and_the_next_proposal_played(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "broken", MethodEntry("", f"{__name__}:Broken"))
    steered = Steered(rig, method="broken")
    steered.propose(proposal(1))
    _, _, detail = rig.until_status(steered.node, State.ERROR, Reason.CALLBACK_EXCEPTION)
    assert "no idea" in detail and not steered.chunks
    steered.propose(proposal(2))
    rig.until(lambda: steered.chunks, what="a chunk")
    assert steered.node.status[0] == State.READY


def test_when_the_operator_begins_the_critical_phase_expect_it_in_the_decisions_of_that_episode_alone(rig: Rig) -> None:
    steered = Steered(rig, critical_from_step=30)
    say = rig.voice("critical_phase", Bool, qos.LATCHED)

    def decided(number: int, episode: int, step: int) -> bool:
        given = proposal(number)
        given.stamp.episode, given.request.episode_step = episode, step
        steered.propose(given)
        rig.until(lambda: len(steered.decisions) == number, what="a decision")
        return bool(steered.decisions[-1].critical_phase)

    assert [decided(1, 1, 8), decided(2, 1, 30)] == [False, True]
    say(Bool(data=False))
    rig.until(lambda: steered.node._critical._word is False, what="the operator's word")
    assert [decided(3, 1, 38), decided(4, 2, 38), decided(5, 3, 0)] == [False, True, False]
