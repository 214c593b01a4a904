# SPDX-License-Identifier: Apache-2.0
"""What vla_node publishes: the contract, features, and proposals with all that only travels along."""

from __future__ import annotations

import numpy as np
from vla_interfaces.msg import Features, PolicyContract, Proposal
from vla_interfaces.msg import Observation as ObservationMsg

from vla_policy.core.protocol import FloatArray
from vla_policy.nodes.convert import from_features
from vla_policy.nodes.proposal_noise import Draw
from whetstone_common.core.contract import Contract
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import float32_field, from_contract
from whetstone_common.nodes.robot_view import Side


class VlaOutputs:
    """Publishes under one contract; a model that is swapped in has the same.

    Args:
        node: Publishes.
        contract: That all numbers are in.
    """

    def __init__(self, node: Side, contract: Contract) -> None:
        self._hash = contract.hash()
        self._features = node.create_publisher(Features, "features", qos.RING)
        self._proposals = node.create_publisher(Proposal, "proposal", qos.RING)
        self._contracts = node.create_publisher(PolicyContract, "policy_contract", qos.LATCHED)

    def announce(self, contract: Contract) -> None:
        """Publish the contract, with the names of the weights that serve now."""
        self._contracts.publish(from_contract(contract))

    def publish_features(self, msg: ObservationMsg, features: FloatArray, *, noise_expected: bool) -> None:
        """Publish features before the proposal, for a method that steers noise by them.

        Methods that do not steer noise wait for the proposal, which carries the features as well.
        """
        if self._features.get_subscription_count() > 0:
            self._features.publish(from_features(msg, features, self._hash, expected=noise_expected))

    def publish_proposal(self, msg: ObservationMsg, features: FloatArray, chunks: FloatArray, draw: Draw) -> None:
        """Publish the candidates of an observation.

        Args:
            msg: The observation, with the times of this node in it.
            features: float32 [F].
            chunks: float32 [N, H, A], normalised.
            draw: Noises that they started from.
        """
        n, horizon, action_dim = chunks.shape
        self._proposals.publish(
            Proposal(
                stamp=msg.stamp,
                kind=msg.kind,
                contract_hash=self._hash,
                n=n,
                horizon=horizon,
                action_dim=action_dim,
                chunks=float32_field(chunks),
                noise=float32_field(draw.noise[:, :, :action_dim]),
                noise_steered=draw.is_steered,
                noise_timed_out=draw.has_timed_out,
                features=float32_field(features),
                proprio=msg.proprio,
                tcp_pose=np.asarray(msg.tcp_pose, dtype=np.float64),
                joint_positions=msg.joint_positions,
                instruction=msg.instruction,
                times=msg.times,
                request=msg.request,
            )
        )
