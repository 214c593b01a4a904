# SPDX-License-Identifier: Apache-2.0
"""The actor of a run in process: weights reach it through the same packing and validation as in the graph."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rl_learner.core.training_run import TrainingRun
from rl_methods.base import LearnedPolicy, ValidationContext
from rl_methods.common.probes import probes
from rl_methods.common.weights import pack, unpack
from whetstone_common.core.contract import Contract

EDIT_LIMIT = 2.0  # normalised units, as steering_node's edit_limit


class InstalledWeights:
    """Keeps a policy up to date with a learner.

    Args:
        method: Name of the method.
        policy: Its actor half.
        contract: That all numbers are in.
    """

    def __init__(self, method: str, policy: LearnedPolicy, contract: Contract) -> None:
        self._method, self._policy, self._contract = method, policy, contract
        self._installed: tuple[int, bool, bool] | None = None

    def update(self, run: TrainingRun, *, newest: bool) -> None:
        """Install the weights that may play, unless they are; before there are any, the base plays.

        Args:
            run: Whose weights they are.
            newest: Install the newest weights whatever the guard says of them.
        """
        state = (run.learner.updates, newest, run.guard.is_withdrawn)
        if run.ready and state != self._installed:
            self._install(run, run.learner.policy_weights() if newest else run.weights_to_play())
            self._installed = state

    def _install(self, run: TrainingRun, weights: Mapping[str, Tensor]) -> None:
        contract_hash = self._contract.hash()
        manifest, data = pack(
            weights, run.learner.architecture(), method=self._method, run="process",
            step=run.learner.updates, version=self._policy.version + 1, parent=self._policy.version,
            contract_hash=contract_hash, created_ns=0,
        )  # fmt: skip
        unpacked = unpack(manifest, data, method=self._method, contract_hash=contract_hash)
        context = ValidationContext(self._contract, probes(self._contract), EDIT_LIMIT)
        self._policy.install(self._policy.prepare(unpacked, context))
