# SPDX-License-Identifier: Apache-2.0
"""The VLA's node: what it serves, and what it does when the model fails."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.parameter import Parameter
from std_msgs.msg import Bool, String, UInt32
from vla_interfaces.msg import Features, Noise, Observation, PolicyContract, Proposal, Request

from harness.rig import Rig
from harness.ring import contract, observation
from vla_policy.nodes.vla_node import VlaNode
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import float32_field


class Served:
    """A vla_node around the fake model, and what it publishes."""

    def __init__(self, rig: Rig, **parameters: object) -> None:
        self.rig = rig
        self.proposals = rig.hear("proposal", Proposal)
        self.features = rig.hear("features", Features)
        self.node = rig.add(VlaNode, **({"backend": "fake", "fake_pattern": "noise"} | parameters))
        self.see = rig.voice("observation", Observation)

    def tell(self, **parameters: object) -> None:
        """Change parameters while the node runs."""
        changes = [Parameter(name, value=value) for name, value in parameters.items()]
        assert all(result.successful for result in self.node.set_parameters(changes))

    def ask(self, number: int, **fields: object) -> Proposal:
        """One observation in, one proposal out."""
        before = len(self.proposals)
        self.see(observation(number, **fields))
        self.rig.until(lambda: len(self.proposals) > before, what=f"proposal {number}; {self.node.status}")
        return self.proposals[-1]


def test_when_an_observation_comes_expect_features_and_as_many_candidates_as_wanted(rig: Rig) -> None:
    served = Served(rig, n_candidates=3)
    proposal = served.ask(1)
    assert (proposal.n, proposal.horizon, proposal.action_dim) == (3, 16, 7)
    assert len(proposal.chunks) == len(proposal.noise) == 3 * 16 * 7
    assert proposal.contract_hash == contract().hash() and proposal.stamp.request_id == 1
    rig.until(lambda: served.features, what="features")
    assert list(served.features[0].features) == list(proposal.features) and len(proposal.features) == 74
    assert proposal.request.seed == 7 and not proposal.noise_steered and not proposal.noise_timed_out


def test_when_a_trial_wants_candidates_of_its_own_expect_so_many_and_as_usual_afterwards(rig: Rig) -> None:
    served = Served(rig, n_candidates=3, max_candidates=8)
    trial = observation(1)
    trial.kind = trial.request.kind = Request.TRIAL
    trial.request.n_candidates = 5
    served.see(trial)
    rig.until(lambda: served.proposals, what="the trial")
    assert (served.proposals[0].n, served.proposals[0].kind) == (5, Request.TRIAL)
    assert served.ask(2).n == 3


def test_when_somebody_joins_late_expect_the_contract(rig: Rig) -> None:
    Served(rig)
    contracts = rig.hear("policy_contract", PolicyContract, qos.LATCHED)
    rig.until(lambda: contracts, what="the latched contract")
    assert contracts[0].contract_hash == contract().hash()


def test_when_steering_wants_more_than_allowed_expect_the_most_that_is(rig: Rig) -> None:
    served = Served(rig, max_candidates=4)
    rig.voice("n_candidates", UInt32, qos.LATCHED)(UInt32(data=4_000_000_000))
    rig.until(lambda: served.node._robots[0].noise.candidate_count, what="the wish")
    assert served.ask(1).n == 4


@pytest.mark.row(9)
@pytest.mark.parametrize("fault", ["raise_prefix", "raise_denoise", "nan", "inf", "wrong_dims", "wrong_horizon"])
def test_when_the_model_fails_expect_error_with_a_reason_no_proposal_and_another_try(rig: Rig, fault: str) -> None:
    served = Served(rig)
    served.ask(1)
    served.tell(fake_fault=fault)
    served.see(observation(2))
    _, _, detail = rig.until_status(served.node, State.ERROR, Reason.MODEL_FAILURE)
    assert "1 in a row" in detail and len(served.proposals) == 1
    served.tell(fake_fault="none")
    assert served.ask(3).stamp.request_id == 3
    rig.until_status(served.node, State.READY)
    assert served.node.counters["model_failures"] == 1


def test_when_the_model_fails_too_often_expect_no_further_try_until_activated_anew(rig: Rig) -> None:
    served = Served(rig, max_failures=2, fake_fault="raise_prefix")
    for number in (1, 2, 3):
        served.see(observation(number))
        wanted = "observation_refused" if number == 3 else "model_failures"
        rig.until(lambda w=wanted, n=number: served.node.counters[w] == (1 if n == 3 else n), what=f"try {number}")
    served.tell(fake_fault="none")
    served.see(observation(4))
    rig.until(lambda: served.node.counters["observation_refused"] == 2, what="refusal")
    assert served.node.status[:2] == (State.ERROR, Reason.MODEL_FAILURE) and not served.proposals
    served.node.trigger_deactivate()
    served.node.trigger_activate()
    assert served.ask(5).stamp.request_id == 5


def test_when_the_model_cannot_be_loaded_expect_error_on_configure_that_names_it(rig: Rig) -> None:
    node = rig.add(VlaNode, backend="pocket", model_dir="/no/such/model")
    assert node.status[:2] == (State.ERROR, Reason.MODEL_FAILURE) and "/no/such/model" in node.status[2]
    assert not node.active


@pytest.mark.parametrize(
    "spoil",
    [
        lambda msg: msg.images.pop(),
        lambda msg: msg.cameras.reverse() or msg.cameras.pop(),
        lambda msg: setattr(msg, "cameras", ["front", "front"]),
        lambda msg: setattr(msg, "cameras", ["front", "side"]),
        lambda msg: setattr(msg.images[0], "height", 95),
        lambda msg: setattr(msg.images[0], "encoding", "bgr8"),
        lambda msg: setattr(msg.images[0], "data", msg.images[0].data[:-1]),
        lambda msg: setattr(msg, "proprio", [0.0] * 9),
        lambda msg: setattr(msg, "proprio", [float("nan")] * 10),
        lambda msg: setattr(msg, "tcp_pose", np.full(7, np.nan)),
        lambda msg: setattr(msg, "instruction", "x" * 2000),
    ],
)
def test_when_an_observation_does_not_fit_expect_refusal_and_the_next_one_served(rig: Rig, spoil: object) -> None:
    served = Served(rig)
    bad = observation(1)
    spoil(bad)
    served.see(bad)
    rig.until_status(served.node, State.HOLDING, Reason.BAD_MESSAGE)
    assert served.node.counters["observation_bad"] == 1 and served.node.counters["model_failures"] == 0
    assert served.ask(2).stamp.request_id == 2


def test_when_nothing_is_asked_after_a_refusal_expect_ready_again(rig: Rig) -> None:
    served = Served(rig)
    bad = observation(1)
    bad.proprio = [0.1] * 9
    served.see(bad)
    rig.until_status(served.node, State.HOLDING, Reason.BAD_MESSAGE)
    rig.until_status(served.node, State.READY)


@pytest.mark.row(76)
def test_when_the_model_cannot_take_the_words_expect_holding_until_there_are_others(rig: Rig) -> None:
    served = Served(rig, fake_max_words=8)
    say = rig.voice("instruction", String, qos.LATCHED)
    say(String(data="put the red cube down on the blue plate"))
    _, _, detail = rig.until_status(served.node, State.HOLDING, Reason.BAD_MESSAGE)
    assert "has 9 words, at most 8" in detail
    rig.turn(2.5)
    assert served.node.status[:2] == (State.HOLDING, Reason.BAD_MESSAGE)
    say(String(data="put it down"))
    rig.until_status(served.node, State.READY)
    assert served.ask(1).stamp.request_id == 1


@pytest.mark.row(22)
def test_when_an_observation_is_repeated_or_older_expect_it_ignored(rig: Rig) -> None:
    served = Served(rig)
    served.ask(5)
    for number in (5, 4):
        served.see(observation(number))
    rig.until(lambda: served.node.counters["observation_old"] == 2, what="both counted")
    assert len(served.proposals) == 1


def test_when_observations_pile_up_expect_the_newest_and_no_queue(rig: Rig) -> None:
    served = Served(rig, fake_prefix_delay_s=1.5)
    for number in range(1, 5):
        served.see(observation(number))
    rig.until(lambda: served.proposals, what="a proposal")
    rig.turn(0.5)
    assert [p.stamp.request_id for p in served.proposals] == [4]


def test_when_a_look_waits_behind_an_act_expect_the_act_to_be_served(rig: Rig) -> None:
    served = Served(rig, fake_denoise_delay_s=3.0)
    served.see(observation(1))
    rig.until(lambda: served.features, what="work on the first one")
    served.see(observation(2, kind=Request.QUERY_ONLY))
    served.see(observation(3))
    served.see(observation(4, kind=Request.QUERY_ONLY))
    rig.until(lambda: len(served.proposals) >= 2, what="two proposals")
    rig.turn(0.3)
    assert [p.stamp.request_id for p in served.proposals] == [1, 3]


def test_when_noise_is_steered_expect_candidates_made_of_it(rig: Rig) -> None:
    served = Served(rig, steer_noise=True, steer_deadline_s=5.0, n_candidates=2)
    speak = rig.voice("noise", Noise)
    served.see(observation(1))
    features = rig.until(lambda: served.features and served.features[0], what="features")
    assert features.noise_expected
    chosen = np.random.default_rng(1).standard_normal((2, 16, 7), dtype=np.float32)
    speak(Noise(stamp=features.stamp, n=2, horizon=16, action_dim=7, noise=float32_field(chosen)))
    proposal = rig.until(lambda: served.proposals and served.proposals[0], what="a proposal")
    assert proposal.noise_steered and not proposal.noise_timed_out
    assert np.array_equal(np.array(proposal.chunks, np.float32), chosen.ravel())


def test_when_steering_says_whether_it_chooses_the_noise_expect_the_vla_to_wait_or_not(rig: Rig) -> None:
    served = Served(rig, steer_deadline_s=5.0)
    tell = rig.voice("steer_noise", Bool, qos.LATCHED)
    for number, steers in enumerate((True, False), 1):
        tell(Bool(data=steers))
        rig.until(lambda wanted=steers: served.node._robots[0].noise.steers_noise is wanted, what="the word")
        served.see(observation(number))
        features = rig.until(lambda n=number: len(served.features) == n and served.features[-1], what="features")
        assert features.noise_expected is steers


@pytest.mark.parametrize("shape", [None, (1, 16, 7), (2, 16, 6), "nan"])
def test_when_noise_does_not_come_or_does_not_fit_expect_gaussian_noise_and_a_flag(rig: Rig, shape: object) -> None:
    served = Served(rig, steer_noise=True, steer_deadline_s=0.3, n_candidates=2)
    speak = rig.voice("noise", Noise)
    served.see(observation(1))
    features = rig.until(lambda: served.features and served.features[0], what="features")
    if shape is not None:
        chosen = np.full((2, 16, 7), np.nan, np.float32) if shape == "nan" else np.zeros(shape, np.float32)
        n, horizon, action_dim = chosen.shape
        noise = float32_field(chosen)
        speak(Noise(stamp=features.stamp, n=n, horizon=horizon, action_dim=action_dim, noise=noise))
    proposal = rig.until(lambda: served.proposals and served.proposals[0], what="a proposal")
    assert proposal.noise_timed_out and not proposal.noise_steered and np.std(proposal.noise) > 0.5


def test_when_the_model_is_slow_expect_callbacks_and_status_to_go_on(rig: Rig) -> None:
    served = Served(rig, fake_prefix_delay_s=1.0)
    served.see(observation(1))
    rig.until(lambda: served.node._worker.is_idle, what="the thread took it")
    served.tell(n_candidates=2)
    assert served.node.param("n_candidates") == 2 and not served.proposals
    rig.until(lambda: served.proposals, what="a proposal")


def test_when_cleaned_up_and_configured_anew_expect_one_proposal_per_observation(rig: Rig) -> None:
    served = Served(rig)
    served.ask(1)
    node = served.node
    for _ in range(2):
        for step in (node.trigger_deactivate, node.trigger_cleanup, node.trigger_configure, node.trigger_activate):
            assert step().name == "SUCCESS"
    assert node.status[0] == State.READY
    rig.until(lambda: node.count_publishers("observation") == 1)
    served.ask(2)
    rig.turn(0.3)
    assert len(served.proposals) == 2


def test_when_execution_is_rtc_expect_the_chunk_to_go_on_from_what_is_left_of_the_old_one(rig: Rig) -> None:
    served = Served(rig, execution="rtc", fake_pattern="constant", fake_value=0.0)
    asked = observation(1)
    old = np.full((6, 7), 0.25, np.float32)
    asked.request.committed, asked.request.committed_steps = float32_field(old), len(old)
    asked.request.delay_steps = 4
    asked.request.committed_reference = asked.tcp_pose
    served.see(asked)
    proposal = rig.until(lambda: served.proposals and served.proposals[0], what="a proposal")
    chunk = np.array(proposal.chunks, np.float32).reshape(16, 7)
    spec = served.node._served.backend.spec
    np.testing.assert_allclose(spec.denormalise(chunk)[:4], old[:4], atol=1e-5)
    assert not chunk[6:].any()


def test_when_execution_is_sync_expect_what_is_left_of_the_old_chunk_ignored(rig: Rig) -> None:
    served = Served(rig, fake_pattern="constant", fake_value=0.0)
    asked = observation(1)
    asked.request.committed, asked.request.committed_steps = float32_field(np.ones((6, 7), np.float32)), 6
    served.see(asked)
    proposal = rig.until(lambda: served.proposals and served.proposals[0], what="a proposal")
    assert not np.array(proposal.chunks).any()
