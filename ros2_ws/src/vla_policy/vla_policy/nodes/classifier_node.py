# SPDX-License-Identifier: Apache-2.0
"""A learned success detector: looks at each observation, and says how probable it is that the task is done.

episode_node listens when `classifier` is among its `reward_sources`.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from std_msgs.msg import Float32
from vla_interfaces.msg import Observation, PolicyContract

from rl_methods.common.success_classifier import SuccessClassifier, load_classifier
from vla_policy.nodes.convert import to_images
from whetstone_common.core.contract import ContractBinding
from whetstone_common.core.pixels import squared
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import shaped, to_contract
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.resources import find


class ClassifierNode(WhetstoneNode):
    """Observations in; a probability of success out."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        self._contracts = ContractBinding()
        super().__init__("classifier_node", package="vla_policy", **kwargs)

    # ---- hooks -----------------------------------------------------------------------------------------------------

    def on_setup(self) -> None:
        """Read the classifier and connect."""
        torch.set_num_threads(1)  # a small network: a second thread costs more than it gives
        try:
            self._classifier: SuccessClassifier = load_classifier(find(self.param("file")))
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"file: {error}") from error
        self._scores = self.create_publisher(Float32, "success_score", qos.RING)
        self.create_subscription(PolicyContract, "policy_contract", self.on_contract, qos.LATCHED)
        self.create_subscription(Observation, "observation", self.on_observation, qos.RING)

    def on_start(self) -> None:
        """Ready: what it waits for comes with the first request."""
        self.set_state(State.READY)

    def on_teardown(self) -> None:
        """Forget the contract."""
        self._contracts.forget()

    # ---- callbacks -------------------------------------------------------------------------------------------------

    def on_contract(self, msg: PolicyContract) -> None:
        """Bind to the first contract whose cameras and proprioception suit the classifier."""
        try:
            contract = to_contract(msg)
        except ValueError as error:
            self.set_state(State.HOLDING, Reason.CONTRACT_MISMATCH, str(error))
            return
        if problem := self._problem(len(contract.cameras), contract.proprio_dim):
            self.set_state(State.HOLDING, Reason.CONTRACT_MISMATCH, problem)
            return
        differences = self._contracts.bind(contract)
        if differences:
            self.set_state(State.HOLDING, Reason.CONTRACT_MISMATCH, "; ".join(differences))

    def _problem(self, cameras: int, proprio: int) -> str:
        config = self._classifier.config
        if config.cameras != cameras:
            return f"cameras: the classifier looks through {config.cameras}, the policy has {cameras}"
        if config.proprio_index >= proprio:
            return f"proprio: the classifier tests number {config.proprio_index}, the policy has {proprio}"
        return ""

    def on_observation(self, msg: Observation) -> None:
        """Look, and say what is seen."""
        contract = self._contracts.bound
        if not self.active or contract is None:
            return
        began_s = time.monotonic()
        try:
            images = squared(to_images(msg, contract), self._classifier.config.image_size)
            proprio = shaped(msg.proprio, contract.proprio_dim)
        except ValueError as error:
            self.counters["observation_bad"] += 1
            self.set_state(State.HOLDING, Reason.BAD_MESSAGE, str(error))
            return
        probability = self._classifier.probability(torch.from_numpy(images), torch.from_numpy(proprio))
        self._scores.publish(Float32(data=probability))
        self.counters["scores"] += 1
        self.set_state(State.READY, detail=f"{probability:.2f}, {1e3 * (time.monotonic() - began_s):.0f} ms")


def main() -> None:
    """Entry point."""
    run(ClassifierNode)
