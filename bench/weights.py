# SPDX-License-Identifier: Apache-2.0
"""Weights: from their publication to the first chunk that they decided, and what that costs the decisions meanwhile."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from figures import Figure, summarise
from rclpy.context import Context
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from stage import stage, wait_known
from vla_interfaces.msg import ActionChunk, PolicyContract, PolicyWeights, Proposal, Request, Stamp, WeightsAck

from fakes.policy_sets import expo_config, expo_set
from harness.ring import HOME, contract
from rl_learner.nodes.weights_publisher import PIECE_PAUSE_S
from rl_methods.common.weights import split
from rl_methods.expo.actor import ExpoActorConfig
from vla_policy.nodes.weights_wire import from_piece
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import float32_field, from_contract

GROUP = "Weights (published by another process to steering_node; a proposal of 8 candidates every 50 ms)"
TICK_S = 0.05
BAR_MS = 200.0
FEATURES = 512
CONTRACT = contract(feature_dim=FEATURES)
SIZES = {
    "5 critics of 2 x 256": {"members": 5, "hidden": (256, 256), "edit_hidden": (256, 256)},
    "10 critics of 3 x 256": {"members": 10, "hidden": (256,) * 3, "edit_hidden": (256,) * 3},
}
_CANDIDATES = 8
_WARM_UP_TICKS = 40
_GIVE_UP_S = 10.0


class Client:
    """A VLA that proposes every tick, and a learner."""

    def __init__(self, domain_id: int) -> None:
        """Connect to the domain."""
        self._context = Context()
        self._context.init(domain_id=domain_id)
        self._node = Node("bench_client", context=self._context)
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self._node)
        make = self._node.create_publisher
        self._proposals = make(Proposal, "proposal", qos.RING)
        self._contracts = make(PolicyContract, "policy_contract", qos.LATCHED)
        self._weights = make(PolicyWeights, "policy_weights", qos.WEIGHTS)
        self._node.create_subscription(ActionChunk, "action_chunk", self._on_chunk, qos.RING)
        self._node.create_subscription(WeightsAck, "weights_ack", self._on_ack, qos.RECORD)
        chance = np.random.default_rng(0)
        shape = (_CANDIDATES, CONTRACT.horizon, CONTRACT.action_dim)
        self._chunks = float32_field(chance.standard_normal(shape))
        self._features = float32_field(chance.standard_normal(FEATURES))
        self._number, self._next_s = 0, 0.0
        self._asked_s: dict[int, float] = {}
        self.decisions_ms: list[float] = []
        self.published_ms: list[float] = []
        self.first_s: dict[int, float] = {}
        self.refused = ""

    def agree(self) -> None:
        """Say which contract holds."""
        self._contracts.publish(from_contract(CONTRACT))

    def tick(self) -> None:
        """Propose, and listen until the next tick."""
        self._number += 1
        request = Request(stamp=Stamp(epoch=1, episode=1, request_id=self._number, sequence=self._number), seed=1)
        self._asked_s[self._number] = time.perf_counter()
        self._proposals.publish(self._proposal(request))
        self._next_s = max(self._next_s + TICK_S, time.perf_counter())
        self._listen(self._next_s)

    def swap(self, packed: Any, wait_s: float) -> float:
        """Publish a set some time after a tick; seconds to the first chunk of its version.

        Raises:
            AssertionError: It was refused, or no chunk came.
        """
        manifest, data = packed
        pieces = [from_piece(manifest, i, len(split(data)), piece) for i, piece in enumerate(split(data))]
        self._listen(time.perf_counter() + wait_s)
        began_s = self._next_s = time.perf_counter()
        for piece in pieces:
            self._weights.publish(piece)
            self._listen(time.perf_counter() + PIECE_PAUSE_S)
        self.published_ms.append(1e3 * (time.perf_counter() - began_s))
        while manifest.version not in self.first_s:
            if self.refused or time.perf_counter() > began_s + _GIVE_UP_S:
                raise AssertionError(f"version {manifest.version} never decided: {self.refused or 'no chunk'}")
            self.tick()
        return self.first_s[manifest.version] - began_s

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _listen(self, until_s: float) -> None:
        while (left_s := until_s - time.perf_counter()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def _proposal(self, request: Request) -> Proposal:
        return Proposal(
            stamp=request.stamp, kind=request.kind, contract_hash=CONTRACT.hash(), n=_CANDIDATES,
            horizon=CONTRACT.horizon, action_dim=CONTRACT.action_dim, chunks=self._chunks, noise=self._chunks,
            features=self._features, proprio=float32_field(np.zeros(CONTRACT.proprio_dim)),
            tcp_pose=np.array([0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]), joint_positions=list(HOME), request=request,
        )  # fmt: skip

    def _on_chunk(self, msg: ActionChunk) -> None:
        now_s = time.perf_counter()
        self.first_s.setdefault(msg.policy_version, now_s)
        self.decisions_ms.append(1e3 * (now_s - self._asked_s.pop(msg.stamp.request_id)))

    def _on_ack(self, msg: WeightsAck) -> None:
        if not msg.accepted:
            self.refused = msg.reason


def run(*, swaps: int) -> list[Figure]:
    """Each size of networks."""
    return [figure for name, size in SIZES.items() for figure in _measure(name, expo_config(CONTRACT, **size), swaps)]


def _measure(name: str, config: ExpoActorConfig, swaps: int) -> list[Figure]:
    with stage() as world:
        world.node("vla_policy", "steering_node", parameters={"method": "expo", "n_candidates": _CANDIDATES})
        client = Client(world.domain_id)
        try:
            wait_known(world.watcher, "steering_node")
            client.agree()
            return _swaps(client, name, config, swaps)
        finally:
            client.close()


def _swaps(client: Client, name: str, config: ExpoActorConfig, swaps: int) -> list[Figure]:
    chance = np.random.default_rng(1)
    first = expo_set(CONTRACT, 1, config=config)
    client.swap(first, 0.0)
    for _ in range(_WARM_UP_TICKS):
        client.tick()
    client.decisions_ms.clear()
    for _ in range(4 * swaps):
        client.tick()
    quiet, client.decisions_ms = client.decisions_ms, []
    times_ms = []
    for version in range(2, swaps + 2):
        packed = expo_set(CONTRACT, version, seed=version, config=config)
        client.tick()
        times_ms.append(1e3 * client.swap(packed, chance.uniform(0.0, TICK_S)))
        for _ in range(2):
            client.tick()
    size = f"{name}, {first[0].total_bytes / 2**20:.1f} MiB"
    sending = summarise(GROUP, f"of this, to hand over the pieces ({size})", "ms", client.published_ms)
    usual = summarise(GROUP, f"decision ({size})", "ms", quiet)
    return [
        summarise(GROUP, f"publication to first chunk ({size})", "ms", times_ms, bar=BAR_MS, bar_on="p99"),
        sending,
        usual,
        summarise(GROUP, f"decision while weights come ({size})", "ms", client.decisions_ms, baseline=usual,
                  bar=1e3 * TICK_S, bar_on="p99"),
    ]  # fmt: skip
