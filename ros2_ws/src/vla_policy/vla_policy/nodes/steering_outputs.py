# SPDX-License-Identifier: Apache-2.0
"""What steering_node says: the chunk to the arm, the decision to the learner, and to the VLA what it wants of it."""

from __future__ import annotations

from std_msgs.msg import Bool, UInt32
from vla_interfaces.msg import ActionChunk, Decision, Proposal, Request
from vla_interfaces.msg import Stamp as StampMsg

from rl_methods.base import PolicyOutput
from vla_policy.core.stacked_images import Images
from vla_policy.nodes.convert import from_decision, from_output
from whetstone_common.core.contract import Contract
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.record_source import RecordSource


class SteeringOutputs:
    """Publishes what was chosen.

    Args:
        node: Publishes; its parameters say how a chunk may be played.
    """

    def __init__(self, node: WhetstoneNode) -> None:
        self._node = node
        self._chunks = node.create_publisher(ActionChunk, "action_chunk", qos.RING)
        self._decisions = node.create_publisher(Decision, "decision", qos.RECORD)
        self._source = RecordSource(node, {"decision": self._say_hello})

    def publish(
        self, msg: Proposal, output: PolicyOutput, contract: Contract, images: Images, *, critical_phase: bool
    ) -> None:
        """Send a chunk to the arm unless it was only asked about, and the decision to whoever records it.

        Args:
            msg: The proposal.
            output: What was chosen of it.
            contract: That the numbers are in.
            images: That the proposal was made of.
            critical_phase: Whether the request was made in the critical phase.
        """
        node = self._node
        if msg.kind == Request.ACT:
            identity = {
                "source": node.get_fully_qualified_name(),
                "source_epoch": node.epoch_ns,
                "execute_steps": min(node.param("execute_steps"), contract.horizon),
                "valid_for_s": node.param("valid_for_s"),
            }
            self._chunks.publish(from_output(msg, output, contract, identity))
        if self._decisions.get_subscription_count() > 0:
            method = node.param("method")
            self._decisions.publish(from_decision(msg, output, contract, method, images, critical_phase=critical_phase))

    def _say_hello(self) -> None:
        """To the recorder of transitions, that it may say that it hears this process."""
        self._decisions.publish(Decision(stamp=StampMsg(epoch=self._node.epoch_ns), request_kind=Request.QUERY_ONLY))


class CandidateRequests:
    """Tells the VLA how many candidates are wanted, and whether it will be given their noise.

    Args:
        node: Publishes.
    """

    def __init__(self, node: WhetstoneNode) -> None:
        self._counts = node.create_publisher(UInt32, "n_candidates", qos.LATCHED)
        self._steers_noise = node.create_publisher(Bool, "steer_noise", qos.LATCHED)

    def publish(self, count: int, *, steers_noise: bool) -> None:
        """Say it; repeated, as a latched sample can reach a late reader after seconds."""
        self._counts.publish(UInt32(data=count))
        self._steers_noise.publish(Bool(data=steers_noise))
