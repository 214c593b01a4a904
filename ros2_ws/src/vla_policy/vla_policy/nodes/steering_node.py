# SPDX-License-Identifier: Apache-2.0
"""Chooses among the VLA's candidates, and tells arm and learner what was chosen."""

from __future__ import annotations

from typing import Any

from std_msgs.msg import UInt32
from vla_interfaces.msg import ActionChunk, Decision, Features, Noise, PolicyContract, Proposal, Request

from vla_policy.core.steering import METHODS, Method, NoiseSteerer, ProposalError, Tuning, decide, make_method, steer
from vla_policy.nodes.convert import from_choice, from_decision, from_noise, to_situation
from whetstone_common.core.contract import ContractBook
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.core.stamp import Stamp
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import shaped, to_contract, to_stamp
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode

_WISH_PERIOD_S = 1.0
_PROPOSAL_REASONS = {"not_finite": Reason.NOT_FINITE, "shape": Reason.BAD_MESSAGE}


class SteeringNode(WhetstoneNode):
    """Proposal in; action chunk and decision out; noise too, when the method steers it."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; everything else is made by the set-up hook."""
        super().__init__("steering_node", package="vla_policy", **kwargs)
        self._contracts = ContractBook()
        self._newest: Stamp | None = None
        self._seed = 0

    # ---- hooks -----------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """The method must be one that is registered.

        Raises:
            ParameterError: It is not.
        """
        if values["method"] not in METHODS:
            known = ", ".join(sorted(METHODS))
            raise ParameterError(f"method = {values['method']!r}: not one of {known}")

    def on_setup(self) -> None:
        """Build the method and connect."""
        self._method: Method = make_method(self.param("method"))
        self._chunks = self.create_publisher(ActionChunk, "action_chunk", qos.RING)
        self._decisions = self.create_publisher(Decision, "decision", qos.RECORD)
        self._wishes = self.create_publisher(UInt32, "n_candidates", qos.LATCHED)
        self.create_subscription(PolicyContract, "policy_contract", self.on_contract, qos.LATCHED)
        if isinstance(self._method, NoiseSteerer):
            self._steerer: NoiseSteerer = self._method
            self.create_subscription(Request, "request", self.on_request, qos.RING)
            self._noises = self.create_publisher(Noise, "noise", qos.RING)
            self.create_subscription(Features, "features", self.on_features, qos.RING)
        self.create_subscription(Proposal, "proposal", self.on_proposal, qos.RING)
        self.create_steady_timer(_WISH_PERIOD_S, self.wish)

    def on_start(self) -> None:
        """Say how many candidates are wanted."""
        self.wish()
        self.set_state(State.READY)

    def on_teardown(self) -> None:
        """Forget the contract: a node that is configured anew may serve another policy."""
        self._contracts.forget()
        self._newest = None

    def parameters_changed(self, names: set[str]) -> None:
        """A new number of candidates goes to the VLA at once."""
        if self.active and "n_candidates" in names:
            self.wish()

    def wish(self) -> None:
        """Say how many candidates are wanted; repeated, as a latched sample can reach a late reader after seconds."""
        self._wishes.publish(UInt32(data=self.param("n_candidates")))

    def _tuning(self) -> Tuning:
        return Tuning(
            n_candidates=self.param("n_candidates"),
            explore=self.param("explore"),
            edit_scale=self.param("edit_scale"),
        )

    # ---- callbacks -------------------------------------------------------------------------------------------------

    def on_contract(self, msg: PolicyContract) -> None:
        """Bind to the first contract; refuse another until the node is configured anew."""
        try:
            differences = self._contracts.offer(to_contract(msg))
        except ValueError as error:
            self._refuse("contract_bad", Reason.CONTRACT_MISMATCH, str(error))
            return
        if differences:
            self._refuse("contract_refused", Reason.CONTRACT_MISMATCH, "; ".join(differences))
        elif self.status[1] == Reason.CONTRACT_MISMATCH:
            self.set_state(State.READY)

    def on_request(self, msg: Request) -> None:
        """Remember the episode's seed, which the features do not carry."""
        self._seed = msg.seed

    def on_features(self, msg: Features) -> None:
        """Choose the noise that the VLA starts from."""
        if not (self.active and msg.noise_expected and self._agrees(msg.contract_hash)):
            return
        contract = self._contracts.bound
        shape = (self.param("n_candidates"), contract.horizon, contract.action_dim)
        features = shaped(msg.features, contract.feature_dim)
        noise = steer(self._steerer, features, shape, self._seed, msg.stamp.sequence)
        self._noises.publish(from_noise(msg, noise, 0))

    def on_proposal(self, msg: Proposal) -> None:
        """Choose a chunk, send it to the arm, and tell the learner."""
        if not (self.active and self._agrees(msg.contract_hash) and self._is_new(to_stamp(msg.stamp))):
            return
        contract = self._contracts.bound
        try:
            situation = to_situation(msg, contract)
            choice = decide(self._method, situation, self._tuning())
        except ProposalError as error:
            self._refuse("proposal_bad", _PROPOSAL_REASONS[error.kind], str(error))
            return
        except ValueError as error:
            self._refuse("proposal_bad", Reason.BAD_MESSAGE, str(error))
            return
        if msg.kind == Request.ACT:
            self._chunks.publish(from_choice(msg, choice, contract, self._identity()))
        if self._decisions.get_subscription_count() > 0:
            self._decisions.publish(from_decision(msg, choice, contract, self.param("method")))
        self.counters["decisions"] += 1
        self.set_state(State.READY)

    def _identity(self) -> dict[str, Any]:
        return {
            "source": self.get_fully_qualified_name(),
            "source_epoch": self.epoch_ns,
            "execute_steps": min(self.param("execute_steps"), self._contracts.bound.horizon),
            "valid_for_s": self.param("valid_for_s"),
        }

    def _agrees(self, contract_hash: str) -> bool:
        refusal = self._contracts.refusal(contract_hash)
        if refusal:
            self._refuse("proposal_refused", Reason.CONTRACT_MISMATCH, refusal)
        return not refusal

    def _is_new(self, stamp: Stamp) -> bool:
        if self._newest is not None and not stamp > self._newest:
            self.counters["proposal_old"] += 1
            return False
        self._newest = stamp
        return True

    def _refuse(self, counter: str, reason: Reason, detail: str) -> None:
        self.counters[counter] += 1
        self.set_state(State.HOLDING, reason, detail)


def main() -> None:
    """Entry point."""
    run(SteeringNode)
