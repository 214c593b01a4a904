# SPDX-License-Identifier: Apache-2.0
"""vla_node in front of a policy server: chunks, what it says when the server is gone, and chunks again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from vla_interfaces.msg import ActionChunk, Observation, PolicyContract, Proposal

from fakes.policy_server import PolicyServer, still, write_mapping
from harness.rig import Rig
from harness.ring import observation
from vla_policy.nodes.steering_node import SteeringNode
from vla_policy.nodes.vla_node import VlaNode
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos


@pytest.fixture
def server() -> Iterator[PolicyServer]:
    """A policy that does not move."""
    made = PolicyServer(still(), {"model": "one"})
    yield made
    made.close()


class Served:
    """A vla_node in front of a policy server."""

    def __init__(self, rig: Rig, server: PolicyServer, folder: Path, **parameters: Any) -> None:
        self.rig = rig
        self.proposals = rig.hear("proposal", Proposal)
        mapping = str(write_mapping(folder))
        start = {"backend": "remote", "remote": server.address, "model_mapping": mapping}
        self.node = rig.add(VlaNode, **({"remote_start_timeout_s": 10.0} | start | parameters))
        self.see = rig.voice("observation", Observation)

    def ask(self, number: int) -> Proposal:
        """One observation in, one proposal out."""
        before = len(self.proposals)
        self.see(observation(number))
        self.rig.until(lambda: len(self.proposals) > before, what=f"proposal {number}; {self.node.status}")
        return self.proposals[-1]


def test_when_an_observation_comes_expect_the_servers_chunk_without_features_and_noise(
    rig: Rig, server: PolicyServer, tmp_path: Path
) -> None:
    contracts = rig.hear("policy_contract", PolicyContract, qos.LATCHED)
    diagnostics = rig.hear("/diagnostics", DiagnosticArray)
    served = Served(rig, server, tmp_path, n_candidates=2)
    proposal = served.ask(1)
    assert (proposal.n, proposal.horizon, proposal.action_dim) == (2, 16, 7)
    chunks = np.asarray(proposal.chunks).reshape(2, 16, 7)
    assert (chunks[..., :6] == 0.0).all() and (chunks[..., 6] == 0.5).all()
    assert not len(proposal.features) and not np.asarray(proposal.noise).any()
    rig.until(lambda: contracts, what="the contract")
    assert contracts[0].feature_dim == 0 and "policy server localhost" in contracts[0].model_id
    rig.until(
        lambda: any(value.key == "round_trip_s" for msg in diagnostics for value in msg.status[0].values),
        what="the server's figures in the diagnostics",
    )


def test_when_the_server_is_gone_expect_the_reason_within_the_deadline_and_chunks_again_when_it_is_back(
    rig: Rig, server: PolicyServer, tmp_path: Path
) -> None:
    served = Served(rig, server, tmp_path, remote_deadline_ms=2000)
    served.ask(1)
    server.close()
    _, _, detail = rig.until_status(served.node, State.HOLDING, Reason.MODEL_FAILURE)
    assert server.address in detail
    served.see(observation(2))
    rig.until(lambda: served.node.counters["observation_unanswered"], 2.0, "the refusal")
    rig.turn(2.5)
    assert served.node.status[:2] == (State.HOLDING, Reason.MODEL_FAILURE), "a refusal is shown as long as it lasts"
    assert len(served.proposals) == 1 and not served.node.counters["model_failures"]
    again = PolicyServer(still(), {"model": "one"}, port=server.port)
    try:
        rig.until_status(served.node, State.READY)
        served.ask(3)
    finally:
        again.close()


def test_when_the_server_is_slow_expect_the_request_refused_at_its_deadline(
    rig: Rig, server: PolicyServer, tmp_path: Path
) -> None:
    served = Served(rig, server, tmp_path, remote_deadline_ms=1000)
    go_on = threading.Event()
    server.policy = lambda _seen: {"actions": np.zeros((16, 7))} if go_on.wait(10.0) else {}
    served.see(observation(1))
    _, _, detail = rig.until_status(served.node, State.HOLDING, Reason.MODEL_FAILURE)
    assert "no answer within 1000 ms" in detail
    go_on.set()
    rig.until_status(served.node, State.READY)
    served.ask(2)


def test_when_answers_are_broken_expect_a_model_that_fails_and_is_given_up_after_so_many(
    rig: Rig, server: PolicyServer, tmp_path: Path
) -> None:
    served = Served(rig, server, tmp_path, max_failures=2)
    server.policy = lambda _seen: {"actions": np.full((16, 7), np.nan)}
    for number in (1, 2):
        served.see(observation(number))
        rig.until(lambda n=number: served.node.counters["model_failures"] == n, what="a failure")
    state, reason, detail = served.node.status
    assert (state, reason) == (State.ERROR, Reason.MODEL_FAILURE)
    assert "not finite" in detail and "not tried again" in detail


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"execution": "rtc"}, "no chunk to go on from"),
        ({"steer_noise": True}, "takes no noise"),
        ({"guidance": 2.0}, "its sampler is its own"),
        ({"num_steps": 4}, "its sampler is its own"),
        ({"model_mapping": ""}, "name the file"),
        ({"remote": "gpu-box:8000"}, "ws://HOST:PORT"),
        ({"remote": "ws://me@gpu-box"}, "WHETSTONE_REMOTE_API_KEY"),
        ({"remote_deadline_ms": 1}, "10"),
    ],
)
def test_when_a_policy_server_cannot_do_what_is_asked_expect_it_refused_before_it_is_connected_to(
    rig: Rig, server: PolicyServer, tmp_path: Path, parameters: dict[str, Any], text: str
) -> None:
    with pytest.raises(ParameterError, match=text):
        Served(rig, server, tmp_path, **parameters)
    assert not server.observations


def test_when_a_method_learns_on_features_expect_steering_to_refuse_the_policy_with_the_reason(
    rig: Rig, server: PolicyServer, tmp_path: Path
) -> None:
    chunks = rig.hear("action_chunk", ActionChunk)
    steering = rig.add(SteeringNode, method="expo")
    served = Served(rig, server, tmp_path)
    _, _, detail = rig.until_status(steering, State.HOLDING, Reason.CONTRACT_MISMATCH)
    assert "'expo' reads features" in detail and "gives none" in detail
    served.ask(1)
    rig.turn(0.5)
    assert not chunks
