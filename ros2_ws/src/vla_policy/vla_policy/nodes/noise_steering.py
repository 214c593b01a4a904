# SPDX-License-Identifier: Apache-2.0
"""Features in, noise out: the half of a noise-steering method that speaks before the VLA denoises."""

from __future__ import annotations

from collections.abc import Callable

from vla_interfaces.msg import Features, Noise, Request

from rl_methods.base import LearnedPolicy, NoisePolicy, RuntimeConfig
from vla_policy.core.steering.decide import steer
from vla_policy.nodes.convert import from_noise
from whetstone_common.core.contract import Contract
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import shaped
from whetstone_common.nodes.node import WhetstoneNode


class NoiseSteering:
    """Chooses the noise that the VLA starts from.

    Args:
        node: Subscribes and publishes.
        policy: Chooses.
        agreed: Contract that a hash names; None when it is refused.
        config: How the policy is to choose now.

    Attributes:
        seed: Of the episode that runs.
    """

    def __init__(
        self,
        node: WhetstoneNode,
        policy: NoisePolicy,
        agreed: Callable[[str], Contract | None],
        config: Callable[[], RuntimeConfig],
    ) -> None:
        self._node, self._policy, self._agreed, self._config = node, policy, agreed, config
        self.seed = 0
        node.create_subscription(Request, "request", self.on_request, qos.RING)
        self._noises = node.create_publisher(Noise, "noise", qos.RING)
        node.create_subscription(Features, "features", self.on_features, qos.RING)

    def on_request(self, msg: Request) -> None:
        """Remember the episode's seed, which the features do not carry."""
        self.seed = msg.seed

    def on_features(self, msg: Features) -> None:
        """Answer features whose noise is expected from us."""
        if not (self._node.active and msg.noise_expected):
            return
        contract = self._agreed(msg.contract_hash)
        if contract is None:
            return
        shape = (self._node.param("n_candidates"), contract.horizon, contract.action_dim)
        features = shaped(msg.features, contract.feature_dim)
        noise = steer(self._policy, features, shape, self.seed, msg.stamp.sequence, self._config())
        version = self._policy.version if isinstance(self._policy, LearnedPolicy) else 0
        self._noises.publish(from_noise(msg, noise, version))
