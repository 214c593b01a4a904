# SPDX-License-Identifier: Apache-2.0
"""Chooses among the VLA's candidates, and tells arm and learner what was chosen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from std_msgs.msg import UInt32
from vla_interfaces.msg import ActionChunk, Decision, Features, Noise, PolicyContract, Proposal, Request
from vla_interfaces.msg import Stamp as StampMsg

from vla_policy.core.steering import (
    METHODS,
    Learned,
    Method,
    NoiseSteerer,
    ProposalError,
    Situation,
    Trial,
    Tuning,
    decide,
    make_method,
    steer,
)
from vla_policy.core.steering.probes import probes
from vla_policy.nodes.convert import from_choice, from_decision, from_noise, to_situation
from whetstone_common.core.contract import ContractBook
from whetstone_common.core.epochs import NewestStamp
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.core.stamp import Stamp
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import shaped, to_contract, to_stamp
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.record_source import RecordSource

if TYPE_CHECKING:  # the plain method needs no torch
    from vla_policy.nodes.weights_intake import WeightsIntake

_WISH_PERIOD_S = 1.0
# A refusal is shown for so long; no episode begins meanwhile, and without one no good proposal would end it.
_REFUSAL_SHOWN_S = 2.0
_PROPOSAL_REASONS = {"not_finite": Reason.NOT_FINITE, "shape": Reason.BAD_MESSAGE}


class SteeringNode(WhetstoneNode):
    """Proposal in; action chunk and decision out; noise too, when the method steers it."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; everything else is made by the set-up hook."""
        super().__init__("steering_node", package="vla_policy", **kwargs)
        self._contracts = ContractBook()
        self._newest = NewestStamp()
        self._seed = 0
        self._probes: list[Situation] = []
        self._last: Situation | None = None
        self._intake: WeightsIntake | None = None
        self._refused_s = 0.0

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
        self._source = RecordSource(self, {"decision": self._say_hello})
        self._wishes = self.create_publisher(UInt32, "n_candidates", qos.LATCHED)
        self.create_subscription(PolicyContract, "policy_contract", self.on_contract, qos.LATCHED)
        if isinstance(self._method, NoiseSteerer):
            self._steerer: NoiseSteerer = self._method
            self.create_subscription(Request, "request", self.on_request, qos.RING)
            self._noises = self.create_publisher(Noise, "noise", qos.RING)
            self.create_subscription(Features, "features", self.on_features, qos.RING)
        self.create_subscription(Proposal, "proposal", self.on_proposal, qos.RING)
        if isinstance(self._method, Learned):
            from vla_policy.nodes.weights_intake import WeightsIntake

            self._intake = WeightsIntake(self, self._method, self._trial, self._weights_changed)
        self.create_steady_timer(_WISH_PERIOD_S, self.wish)

    def on_start(self) -> None:
        """Say how many candidates are wanted."""
        self.wish()
        self._say_ready()

    def on_teardown(self) -> None:
        """Forget contract and weights: a node that is configured anew may serve another policy."""
        if self._intake is not None:
            self._intake.close()
        self._intake = None
        self._contracts.forget()
        self._newest, self._last, self._probes = NewestStamp(), None, []

    def parameters_changed(self, names: set[str]) -> None:
        """A new number of candidates goes to the VLA at once."""
        if self.active and "n_candidates" in names:
            self.wish()

    def wish(self) -> None:
        """Say how many candidates are wanted; repeated, as a latched sample can reach a late reader after seconds."""
        self._wishes.publish(UInt32(data=self.param("n_candidates")))
        if self.status[0] is State.HOLDING and time.monotonic() - self._refused_s > _REFUSAL_SHOWN_S:
            self._say_ready()

    def _tuning(self) -> Tuning:
        return Tuning(
            n_candidates=self.param("n_candidates"),
            explore=self.param("explore"),
            edit_scale=self.param("edit_scale"),
            select=self.param("select"),
            margin=self.param("margin"),
            base_margin=self.param("base_margin"),
        )

    def _trial(self) -> Trial | None:
        """What new weights are tried on; read by another thread."""
        contract, fixed, last = self._contracts.bound, self._probes, self._last
        if contract is None or not fixed:
            return None
        return Trial(contract, [*fixed, *([] if last is None else [last])], self.param("edit_limit"))

    def _weights_changed(self) -> None:
        if self.active and self.status[0] == State.READY:
            self._say_ready()

    def _say_ready(self) -> None:
        self.set_state(State.READY, *(() if self._intake is None else self._intake.status()))

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
            return
        if not self._probes:
            self._probes = probes(self._contracts.bound)
            if self._intake is not None:
                self._intake.retry()
        if self.status[1] == Reason.CONTRACT_MISMATCH:
            self._say_ready()

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
        noise = steer(self._steerer, features, shape, self._seed, msg.stamp.sequence, self._tuning())
        self._noises.publish(from_noise(msg, noise, self._method.version if isinstance(self._method, Learned) else 0))

    def on_proposal(self, msg: Proposal) -> None:
        """Choose a chunk, send it to the arm, and tell the learner."""
        if not (self.active and self._agrees(msg.contract_hash) and self._is_new(to_stamp(msg.stamp))):
            return
        contract = self._contracts.bound
        try:
            situation = to_situation(msg, contract)
            choice = decide(self._method, situation, self._tuning())
            self._last = situation
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
        self._say_ready()

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

    def _say_hello(self) -> None:
        """To the recorder of transitions, that it may say that it hears this process."""
        self._decisions.publish(Decision(stamp=StampMsg(epoch=self.epoch_ns), request_kind=Request.LOOK))

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
