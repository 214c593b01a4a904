# SPDX-License-Identifier: Apache-2.0
"""steering_node and its weights: what is taken, refused and answered, and what decides meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vla_interfaces.msg import (
    ActionChunk,
    Decision,
    Features,
    Noise,
    PolicyContract,
    PolicyWeights,
    Proposal,
    Request,
    WeightsAck,
)
from vla_interfaces.srv import PinPolicy

from fakes.policy_sets import Packed, dsrl_set, expo_set, wrong_sets
from harness.rig import Rig
from harness.ring import HOME, contract, request
from rl_methods.base import PolicyInput, ValidationContext
from rl_methods.common.probes import probes
from rl_methods.common.weights import WeightsError, split
from rl_methods.expo.policy import ExpoPolicy
from vla_policy.core.steering.weight_store import WeightStore
from vla_policy.nodes.steering_node import SteeringNode
from vla_policy.nodes.weights_wire import from_piece
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import float32_field, from_contract

CONTRACT = contract()
PIECE = 4096  # so that small sets have several
KEY = "a key that both of them know"


def proposal(number: int, look: int | None = None, **fields: Any) -> Proposal:
    """Request `number`, always with the same view unless `look` says otherwise."""
    chance = np.random.default_rng(look or 0)
    chunks = chance.standard_normal((2, 16, 7), dtype=np.float32)
    asked = request(number)
    asked.stamp.sequence = 0  # the same draws each time
    return Proposal(
        stamp=asked.stamp, kind=asked.kind, contract_hash=CONTRACT.hash(), n=2, horizon=16, action_dim=7,
        chunks=float32_field(chunks), noise=float32_field(chunks), features=float32_field(chance.standard_normal(74)),
        proprio=float32_field(np.zeros(10)), tcp_pose=np.array([0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]),
        joint_positions=list(HOME), instruction="do it", request=asked, **fields,
    )  # fmt: skip


class Robot:
    """A steering_node with a learned method, what it publishes, and a learner's voice."""

    def __init__(self, rig: Rig, *, agree: bool = True, **parameters: object) -> None:
        self.rig = rig
        self.chunks = rig.hear("action_chunk", ActionChunk)
        self.decisions = rig.hear("decision", Decision)
        self.acks = rig.hear("weights_ack", WeightsAck)
        self.node = rig.add(SteeringNode, **{"method": "expo", "n_candidates": 2} | parameters)
        self.propose = rig.voice("proposal", Proposal)
        self._agree = rig.voice("policy_contract", PolicyContract, qos.LATCHED)
        self.learner = rig.voice("policy_weights", PolicyWeights, qos.WEIGHTS)
        self._number = 0
        if agree:
            self.agree()

    def agree(self) -> None:
        self._agree(from_contract(CONTRACT))
        self.rig.until(lambda: self.node._contracts.bound, what="the contract")

    def send(self, packed: Packed, *, order: Sequence[int] | None = None, voice: Any = None) -> None:
        """All pieces of a set, or those in `order`."""
        manifest, data = packed
        pieces = split(data, PIECE)
        for number in range(len(pieces)) if order is None else order:
            (voice or self.learner)(from_piece(manifest, number, len(pieces), pieces[number]))

    def ack(self, count: int) -> WeightsAck:
        """The answer number `count`."""
        self.rig.until(lambda: len(self.acks) >= count, what=f"answer {count}")
        return self.acks[count - 1]

    def accept(self, packed: Packed) -> None:
        """Send a set that must be accepted."""
        self.send(packed)
        ack = self.ack(len(self.acks) + 1)
        assert ack.accepted and not ack.reason, ack.reason

    def act(self) -> ActionChunk:
        """The chunk of the next request; equal weights give equal numbers."""
        self._number += 1
        count = len(self.chunks)
        self.propose(proposal(self._number))
        self.rig.until(lambda: len(self.chunks) > count, what="a chunk")
        return self.chunks[-1]


def test_when_no_weights_came_expect_the_base_and_a_status_that_says_so(rig: Rig) -> None:
    robot = Robot(rig)
    chunk = robot.act()
    assert np.allclose(chunk.actions, proposal(1).chunks[: 16 * 7]) and chunk.policy_version == 0
    assert chunk.kind == Decision.BASE and robot.node.status == (
        State.READY, Reason.NONE, "expo: no weights yet, plays the base",
    )  # fmt: skip


def test_when_weights_came_expect_them_in_chunk_decision_answer_and_status(rig: Rig) -> None:
    robot = Robot(rig)
    robot.accept(expo_set(CONTRACT, 3))
    chunk = robot.act()
    decision = rig.until(lambda: robot.decisions and robot.decisions[-1], what="a decision")
    assert chunk.policy_version == decision.policy_version == 3 and len(decision.scores) == 4
    assert decision.method == "expo" and decision.kind == chunk.kind
    assert chunk.kind == Decision.EDITED and chunk.value == pytest.approx(max(decision.scores[2:]))
    ack = robot.acks[0]
    assert (ack.method, ack.run, ack.version) == ("expo", "run", 3)
    assert "version 3 of run 'run'" in robot.node.status[2]


def test_when_a_trial_wants_no_edits_expect_a_candidate_as_it_is_no_chunk_and_edits_again_afterwards(rig: Rig) -> None:
    robot = Robot(rig)
    robot.accept(expo_set(CONTRACT, 3))
    trial = proposal(1)
    trial.kind = trial.request.kind = Request.TRIAL
    trial.request.edit_scale = 0.0
    robot.propose(trial)
    decision = rig.until(lambda: robot.decisions and robot.decisions[-1], what="the answer")
    assert decision.request_kind == Request.TRIAL
    first = 16 * 7 * decision.chosen
    assert np.allclose(decision.chosen_chunk, trial.chunks[first : first + 16 * 7])
    robot._number = 1
    assert robot.act().kind == Decision.EDITED
    assert len(robot.chunks) == 1, "a trial is never played"


def test_when_weights_came_before_the_contract_expect_them_tried_once_it_is_known(rig: Rig) -> None:
    robot = Robot(rig, agree=False)
    robot.send(expo_set(CONTRACT, 1))
    rig.until(lambda: robot.node._intake._waiting, what="pieces that wait")
    assert not robot.acks
    robot.agree()
    assert robot.ack(1).accepted and robot.act().policy_version == 1


def test_when_the_node_starts_late_expect_the_newest_set_from_the_latched_topic(rig: Rig) -> None:
    manifest, data = expo_set(CONTRACT, 9)
    publisher = rig.probe.create_publisher(PolicyWeights, "policy_weights", qos.WEIGHTS)
    for number, piece in enumerate(split(data, PIECE)):
        publisher.publish(from_piece(manifest, number, len(split(data, PIECE)), piece))
    robot = Robot(rig)
    assert robot.ack(1).accepted and robot.act().policy_version == 9


@pytest.mark.row(27)
def test_when_a_piece_is_missing_expect_the_old_weights_until_a_second_try(rig: Rig) -> None:
    robot = Robot(rig)
    robot.accept(expo_set(CONTRACT, 1))
    before = robot.act()
    new = expo_set(CONTRACT, 2, seed=2)
    count = len(split(new[1], PIECE))
    robot.send(new, order=[n for n in range(count) if n != 1])
    meanwhile = robot.act()
    assert meanwhile.policy_version == 1 and meanwhile.actions == before.actions and len(robot.acks) == 1
    robot.send(new)
    assert robot.ack(2).accepted and robot.act().policy_version == 2


@pytest.mark.row(27)
@pytest.mark.parametrize("seed", range(3))
def test_when_pieces_come_in_another_order_and_twice_expect_the_set(rig: Rig, seed: int) -> None:
    robot = Robot(rig)
    new = expo_set(CONTRACT, 2)
    order = [*range(len(split(new[1], PIECE)))] * 2
    random.Random(seed).shuffle(order)
    robot.send(new, order=order)
    assert robot.ack(1).accepted and robot.act().policy_version == 2
    assert not robot.node.counters["weights_refused"]


@pytest.mark.row(27)
@pytest.mark.row(28)
@pytest.mark.parametrize("fault", ["one byte short", "half", "a bit"])
def test_when_a_set_is_cut_or_altered_expect_refusal_with_a_reason_and_no_gap(rig: Rig, fault: str) -> None:
    robot = Robot(rig)
    robot.accept(expo_set(CONTRACT, 1))
    before = robot.act()
    manifest, data = expo_set(CONTRACT, 2, seed=2)
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 4
    wrong = {"one byte short": data[:-1], "half": data[: len(data) // 2], "a bit": bytes(flipped)}[fault]
    robot.send((manifest, wrong))
    ack = robot.ack(2)
    assert not ack.accepted and ack.reason.startswith("sha256: " if fault == "a bit" else "size: ")
    assert robot.act().actions == before.actions
    assert robot.node.status[1] == Reason.BAD_MESSAGE and "version 2 refused" in robot.node.status[2]
    robot.accept((manifest, data))
    assert robot.act().policy_version == 2 and robot.node.status[1] == Reason.NONE


@pytest.mark.row(29)
@pytest.mark.parametrize("name", wrong_sets(CONTRACT, 6))
def test_when_a_set_does_not_fit_expect_refusal_by_reason_and_the_same_actions(rig: Rig, name: str) -> None:
    robot = Robot(rig)
    robot.accept(expo_set(CONTRACT, 5))
    before = robot.act()
    wrong, reason = wrong_sets(CONTRACT, 6)[name]
    robot.send(wrong)
    ack = robot.ack(2)
    assert not ack.accepted and ack.reason.startswith(f"{reason}: ") and ack.version == wrong[0].version
    after = robot.act()
    assert after.actions == before.actions and after.policy_version == 5
    robot.accept(expo_set(CONTRACT, 6))


@pytest.mark.row(29)
def test_when_sets_come_while_decisions_are_made_expect_each_chunk_of_one_version(rig: Rig) -> None:
    sets = {version: expo_set(CONTRACT, version, seed=version) for version in range(1, 7)}
    situation = None

    def expected(version: int) -> list[float]:
        method = ExpoPolicy()
        shelf = WeightStore(method, "expo")
        shelf.take(shelf.check(*sets[version], ValidationContext(CONTRACT, probes(CONTRACT), 2.0)))
        assert situation is not None
        return list(float32_field(method.act(situation, robot.node._runtime_config()).chunk))

    robot = Robot(rig)
    robot.act()
    situation = robot.node._trial.last
    assert isinstance(situation, PolicyInput)
    known = {version: expected(version) for version in sets}
    failures: list[str] = []

    def feed() -> None:
        """The worker's part, as fast as it can, in a thread that knows nothing of decisions."""
        for version in sets:
            context = robot.node._validation_context()
            assert context is not None
            try:
                shelf = robot.node._intake.store
                shelf.take(shelf.check(*sets[version], context))
            except WeightsError as error:
                failures.append(str(error))

    thread = threading.Thread(target=feed)
    thread.start()
    chunks = []
    while thread.is_alive() or robot.node._intake.store.version < 6:
        chunks.append(robot.act())
    thread.join()
    chunks.append(robot.act())
    assert not failures
    assert all(list(c.actions) == known[c.policy_version] for c in chunks if c.policy_version)
    assert [c.policy_version for c in chunks] == sorted(c.policy_version for c in chunks)
    assert chunks[-1].policy_version == 6


def test_when_the_same_set_comes_again_expect_it_acknowledged_again(rig: Rig) -> None:
    robot = Robot(rig)
    robot.accept(expo_set(CONTRACT, 1))
    robot.accept(expo_set(CONTRACT, 1))
    assert robot.node.counters["weights_accepted"] == 1


def test_when_a_version_is_pinned_expect_it_to_decide_until_the_newest_is_asked_for(rig: Rig) -> None:
    robot = Robot(rig)
    first, second = expo_set(CONTRACT, 1), expo_set(CONTRACT, 2, seed=2)
    robot.accept(first)
    old = robot.act()
    robot.accept(second)
    client = rig.probe.create_client(PinPolicy, "steering_node/pin_policy")
    rig.until(client.service_is_ready, what="the service")

    def pin(version: int) -> PinPolicy.Response:
        future = client.call_async(PinPolicy.Request(version=version))
        rig.until(future.done, what="an answer")
        return future.result()

    assert robot.act().policy_version == 2
    assert pin(1).success and "pinned while 2" in robot.node.status[2]
    back = robot.act()
    assert back.policy_version == 1 and back.actions == old.actions
    robot.accept(expo_set(CONTRACT, 3, seed=3))
    assert robot.act().policy_version == 1
    answer = pin(7)
    assert not answer.success and "[1, 2, 3]" in answer.message and answer.version == 1
    assert pin(0).version == 3 and robot.act().policy_version == 3


@pytest.mark.row(31)
def test_when_another_publisher_sends_valid_weights_expect_them_refused_while_the_first_lives(rig: Rig) -> None:
    robot = Robot(rig)
    robot.accept(expo_set(CONTRACT, 1))
    before = robot.act()
    publisher = rig.probe.create_publisher(PolicyWeights, "policy_weights", qos.WEIGHTS)
    rig.until(lambda: publisher.get_subscription_count() > 0, what="somebody listens")
    robot.send(expo_set(CONTRACT, 2, seed=2), voice=publisher.publish)
    ack = robot.ack(2)
    assert not ack.accepted and ack.reason.startswith("source: ")
    assert robot.act().actions == before.actions
    assert robot.node.status[:2] == (State.READY, Reason.SECOND_SOURCE)
    robot.accept(expo_set(CONTRACT, 3, seed=3))
    assert robot.act().policy_version == 3 and robot.node.status[1] == Reason.NONE


@pytest.mark.row(38)
def test_when_the_learner_is_replaced_expect_the_new_one_followed(rig: Rig) -> None:
    robot = Robot(rig)
    first = rig.probe.create_publisher(PolicyWeights, "policy_weights", qos.WEIGHTS)
    rig.until(lambda: first.get_subscription_count() > 0, what="somebody listens")
    robot.send(expo_set(CONTRACT, 1), voice=first.publish)
    assert robot.ack(1).accepted
    robot.send(expo_set(CONTRACT, 2, seed=2))
    assert not robot.ack(2).accepted
    rig.probe.destroy_publisher(first)
    assert robot.ack(3).accepted and robot.act().policy_version == 2


@pytest.mark.row(31)
def test_when_a_key_is_asked_for_expect_only_signed_weights_whoever_sends_them(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    robot = Robot(rig, weights_key_file=str(file))
    robot.send(expo_set(CONTRACT, 1))
    robot.send(expo_set(CONTRACT, 2, key=b"another key, just as long"))
    assert [robot.ack(n).reason.partition(":")[0] for n in (1, 2)] == ["signature", "signature"]
    assert robot.node.status[1] == Reason.SECOND_SOURCE
    robot.accept(expo_set(CONTRACT, 3, key=KEY.encode()))
    replayed = expo_set(CONTRACT, 2, key=KEY.encode())
    robot.send(replayed)
    assert robot.ack(4).reason.startswith("old: ")
    other = rig.probe.create_publisher(PolicyWeights, "policy_weights", qos.WEIGHTS)
    rig.until(lambda: other.get_subscription_count() > 0, what="somebody listens")
    robot.send(expo_set(CONTRACT, 4, key=KEY.encode()), voice=other.publish)
    assert robot.ack(5).accepted and robot.act().policy_version == 4


@pytest.mark.parametrize(("content", "text"), [(None, "No such file"), ("short", "5 bytes")])
def test_when_the_key_cannot_be_used_expect_refusal_to_configure(
    rig: Rig, tmp_path: Path, content: str | None, text: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    node = rig.add(SteeringNode, method="expo", weights_key_file=str(file))
    assert node.status[:2] == (State.ERROR, Reason.BAD_PARAMETER) and text in node.status[2]


@pytest.mark.row(31)
def test_when_one_bad_set_is_sent_a_thousand_times_expect_one_answer(rig: Rig) -> None:
    robot = Robot(rig)
    manifest, data = expo_set(CONTRACT, 2)
    msg = from_piece(replace(manifest, sha256="0" * 64, total_bytes=10), 0, 1, data[:10])
    for _ in range(1000):
        robot.learner(msg)
        rig.executor.spin_once(timeout_sec=0.0)
    rig.until(lambda: robot.node.counters["weights_refused"] > 100, what="refusals")
    assert robot.act().policy_version == 0
    assert len(robot.acks) == 1


def test_when_noise_is_steered_expect_the_policys_noise_and_its_version(rig: Rig) -> None:
    robot = Robot(rig, method="dsrl")
    noises = rig.hear("noise", Noise)
    ask = rig.voice("features", Features)
    rig.voice("request", Request)(request(1))
    rig.until(lambda: robot.node._noise.seed == 7, what="the seed")

    def noise(number: int) -> Noise:
        given = Features(
            features=float32_field(np.ones(74)), contract_hash=CONTRACT.hash(), noise_expected=True,
            stamp=proposal(number).stamp,
        )  # fmt: skip
        count = len(noises)
        ask(given)
        rig.until(lambda: len(noises) > count, what="noise")
        return noises[-1]

    base = noise(1)
    robot.accept(dsrl_set(CONTRACT, 5))
    steered = noise(2)
    assert (base.weight_version, steered.weight_version) == (0, 5) and base.noise != steered.noise
    robot.propose(proposal(2, noise_steered=True))
    chunk = rig.until(lambda: robot.chunks and robot.chunks[0], what="a chunk")
    assert (chunk.kind, chunk.policy_version, chunk.candidate) == (Decision.NOISE_STEERED, 5, 0)
