# SPDX-License-Identifier: Apache-2.0
"""Chooses among the VLA's candidates, and tells arm and learner what was chosen."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Bool
from vla_interfaces.msg import Observation, PolicyContract, Proposal, Request

from rl_methods.base import LearnedPolicy, NoisePolicy, Policy, RuntimeConfig, ValidationContext
from rl_methods.registry import IMAGES, encoder_of, entry, make_policy
from vla_policy.core.steering.critical_phase import CriticalPhase
from vla_policy.core.steering.decide import ProposalError, check_features, decide
from vla_policy.core.steering.proposal_images import ProposalImages
from vla_policy.core.steering.trial_inputs import TrialInputs
from vla_policy.nodes.convert import NO_IMAGES, to_images, to_input
from vla_policy.nodes.noise_steering import NoiseSteering
from vla_policy.nodes.steering_outputs import CandidateRequests, SteeringOutputs
from whetstone_common.core.contract import Contract, ContractBinding
from whetstone_common.core.epochs import NewestStamp
from whetstone_common.core.reason import Reason, State
from whetstone_common.core.stamp import Stamp
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_contract, to_stamp
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode

if TYPE_CHECKING:  # the plain policy needs no torch
    from vla_policy.nodes.weights_intake import WeightsIntake

_CANDIDATES_PERIOD_S = 1.0
# A refusal is shown for so long; no episode begins meanwhile, and without one no good proposal would end it.
_REFUSAL_SHOWN_S = 2.0
_PROPOSAL_REASONS = {"not_finite": Reason.NOT_FINITE, "shape": Reason.BAD_MESSAGE}


class SteeringNode(WhetstoneNode):
    """Proposal in; action chunk and decision out; noise too, when the method steers it."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; everything else is made by the set-up hook."""
        super().__init__("steering_node", package="vla_policy", **kwargs)
        self._contracts = ContractBinding()
        self._newest = NewestStamp()
        self._critical = CriticalPhase()
        self._trial = TrialInputs()
        self._intake: WeightsIntake | None = None
        self._refused_s = 0.0
        self._early: Proposal | None = None  # of a policy whose contract is still on its way to us

    # ---- hooks -----------------------------------------------------------------------------------------------------

    def on_setup(self) -> None:
        """Build the method and connect."""
        method = self.param("method")
        self._policy: Policy = make_policy(method)
        self._outputs = SteeringOutputs(self)
        self._candidates = CandidateRequests(self)
        self.create_subscription(PolicyContract, "policy_contract", self.on_contract, qos.LATCHED)
        if isinstance(self._policy, NoisePolicy):
            self._noise = NoiseSteering(self, self._policy, self._agreed, self._runtime_config)
        self.create_subscription(Bool, "critical_phase", self.on_critical_phase, qos.LATCHED)
        self.watch_input("critical_phase", Bool, qos.LATCHED)
        self.create_subscription(Proposal, "proposal", self.on_proposal, qos.RING)
        sees_images = (self.param("encoder") or encoder_of(method)) == IMAGES
        self._images: ProposalImages[Proposal] | None = ProposalImages() if sees_images else None
        if sees_images:
            self.create_subscription(Observation, "observation", self.on_observation, qos.RING)
        if isinstance(self._policy, LearnedPolicy):
            from vla_policy.nodes.weights_intake import WeightsIntake

            self._intake = WeightsIntake(self, self._policy, self._validation_context, self._weights_changed)
        self.create_steady_timer(_CANDIDATES_PERIOD_S, self.request_candidates)

    def on_start(self) -> None:
        """Say how many candidates are wanted."""
        self.request_candidates()
        self._say_ready()

    def on_teardown(self) -> None:
        """Forget contract and weights: a node that is configured anew may serve another policy."""
        if self._intake is not None:
            self._intake.close()
        self._intake = None
        self._contracts.forget()
        self._newest, self._critical, self._trial = NewestStamp(), CriticalPhase(), TrialInputs()
        self._early = None

    def parameters_changed(self, names: set[str]) -> None:
        """A new number of candidates goes to the VLA at once."""
        if self.active and "n_candidates" in names:
            self.request_candidates()

    def request_candidates(self) -> None:
        """Say how many candidates are wanted."""
        self._candidates.publish(self.param("n_candidates"), steers_noise=isinstance(self._policy, NoisePolicy))
        if self.status[0] is State.HOLDING and time.monotonic() - self._refused_s > _REFUSAL_SHOWN_S:
            self._say_ready()

    def _runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig(
            n_candidates=self.param("n_candidates"),
            explore=self.param("explore"),
            edit_scale=self.param("edit_scale"),
            select=self.param("select"),
            margin=self.param("margin"),
            base_margin=self.param("base_margin"),
        )

    def _config_for(self, request: Request) -> RuntimeConfig:
        """How a request is decided: a trial may want another scale of edits."""
        config = self._runtime_config()
        is_trial = request.kind == Request.TRIAL and request.edit_scale >= 0.0
        return replace(config, edit_scale=min(1.0, float(request.edit_scale))) if is_trial else config

    def _validation_context(self) -> ValidationContext | None:
        """What new weights are tried on; read by another thread."""
        return self._trial.context(self._contracts.bound, self.param("edit_limit"))

    def _weights_changed(self) -> None:
        if self.active and (self.status[0] == State.READY or self.status[1] == Reason.NO_WEIGHTS):
            self._say_ready()

    def _say_ready(self) -> None:
        reason, detail = (Reason.NONE, "") if self._intake is None else self._intake.status()
        if self._lacks_weights:
            self.set_state(State.HOLDING, Reason.NO_WEIGHTS, detail)
        elif self._contracts.bound is None and reason is Reason.NONE:
            self.set_state(State.READY, Reason.NO_CONTRACT, detail)
        else:
            self.set_state(State.READY, reason, detail)

    @property
    def _lacks_weights(self) -> bool:
        """Whether nothing may be played: a method that the VLA cannot stand in for has no weights yet."""
        needs_weights = entry(self.param("method")).needs_weights
        return needs_weights and isinstance(self._policy, LearnedPolicy) and self._policy.version == 0

    # ---- callbacks -------------------------------------------------------------------------------------------------

    def on_contract(self, msg: PolicyContract) -> None:
        """Bind to the first contract; refuse another until the node is configured anew."""
        is_awaited = self.active and self._contracts.bound is None
        try:
            contract = to_contract(msg)
            check_features(self.param("method"), contract)
            differences = self._contracts.bind(contract)
        except ValueError as error:
            self._refuse("contract_bad", Reason.CONTRACT_MISMATCH, str(error))
            return
        if differences:
            self._refuse("contract_refused", Reason.CONTRACT_MISMATCH, "; ".join(differences))
            return
        early, self._early = self._early, None
        if self._trial.bind(self._contracts.bound) and self._intake is not None:
            self._intake.retry()
        if is_awaited or self.status[1] == Reason.CONTRACT_MISMATCH:
            self._say_ready()
        if early is not None:
            self.on_proposal(early)

    def on_critical_phase(self, msg: Bool) -> None:
        """Take the operator's word for the episode that runs."""
        self._critical.say(is_critical=msg.data)

    def on_observation(self, msg: Observation) -> None:
        """Keep the images until the proposal that is made of them comes, or answer it if it was faster."""
        contract = self._contracts.bound
        if not self.active or contract is None or self._images is None:
            return
        try:
            early = self._images.put(to_stamp(msg.stamp), to_images(msg, contract))
        except ValueError as error:
            self._refuse("observation_bad", Reason.BAD_MESSAGE, str(error))
            return
        if early is not None:
            self.on_proposal(early)

    def on_proposal(self, msg: Proposal) -> None:
        """Choose a chunk, send it to the arm, and tell the learner."""
        began_s = time.perf_counter()
        contract = self._agreed(msg.contract_hash) if self.active else None
        if contract is None:
            # A latched contract may come after the first proposal, which nobody would make again in lockstep.
            self._early = msg if self.active and self._contracts.bound is None else None
            return
        images = self._images.of(to_stamp(msg.stamp), msg) if self._images is not None else NO_IMAGES
        if images is None or not self._is_new(to_stamp(msg.stamp)):
            return
        if self._lacks_weights:
            self.counters["proposal_without_weights"] += 1
            self._say_ready()
            return
        try:
            step = msg.request.episode_step
            critical = self._critical.at(to_stamp(msg.stamp), step, self.param("critical_from_step"))
            policy_input = to_input(msg, contract, images, critical_phase=critical)
            output = decide(self._policy, policy_input, self._config_for(msg.request))
            self._trial.last = policy_input
        except ProposalError as error:
            self._refuse("proposal_bad", _PROPOSAL_REASONS[error.kind], str(error))
            return
        except ValueError as error:
            self._refuse("proposal_bad", Reason.BAD_MESSAGE, str(error))
            return
        msg.times.steer_s = time.perf_counter() - began_s
        self._outputs.publish(msg, output, contract, images, critical_phase=critical)
        self.counters["decisions"] += 1
        self._say_ready()

    def _agreed(self, contract_hash: str) -> Contract | None:
        """The contract that data of a hash are in; None when the data are refused."""
        refusal = self._contracts.refusal(contract_hash)
        if refusal:
            self._refuse("proposal_refused", Reason.CONTRACT_MISMATCH, refusal)
            return None
        return self._contracts.bound

    def _is_new(self, stamp: Stamp) -> bool:
        is_new = self._newest.accept(stamp, time.monotonic())
        self.counters["proposal_old"] += not is_new
        return is_new

    def _refuse(self, counter: str, reason: Reason, detail: str) -> None:
        self.counters[counter] += 1
        self._refused_s = time.monotonic()
        self.set_state(State.HOLDING, reason, detail)


def main() -> None:
    """Entry point."""
    run(SteeringNode)
