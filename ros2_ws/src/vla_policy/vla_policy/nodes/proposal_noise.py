# SPDX-License-Identifier: Apache-2.0
"""The noises that proposals start from: steering_node's where it chooses them, else drawn by seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from std_msgs.msg import Bool, UInt32
from vla_interfaces.msg import Noise, Request

from vla_policy.core.inbox import Slot
from vla_policy.core.protocol import FloatArray, PolicySpec
from vla_policy.core.serving import draw_noise, merge_noise
from vla_policy.nodes.convert import to_noise
from whetstone_common.core.reason import Reason
from whetstone_common.core.stamp import Stamp
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_stamp
from whetstone_common.nodes.robot_view import Side


@dataclass(frozen=True, eq=False)
class Draw:
    """Noises and how they came about.

    Attributes:
        noise: float32 [N, H, D].
        is_steered: They are steering_node's.
        has_timed_out: They should have been, and did not come in time.
    """

    noise: FloatArray
    is_steered: bool = False
    has_timed_out: bool = False


class ProposalNoise:
    """How many candidates there are, and who chooses their noise.

    Args:
        node: Its parameters hold until steering_node has spoken.
        refuse: Called with counter, reason and words for noise that cannot be used.

    Attributes:
        candidate_count: That steering_node wants, None while it has not said so.
        steers_noise: Whether its policy chooses the noise, None while it has not said so.
    """

    def __init__(self, node: Side, refuse: Callable[[str, Reason, str], None]) -> None:
        self._node, self._refuse = node, refuse
        self.candidate_count: int | None = None
        self.steers_noise: bool | None = None
        self._steered: Slot[FloatArray] = Slot()

    def listen(self) -> None:
        """Subscribe to what steering_node says."""
        self._node.create_subscription(UInt32, "n_candidates", self.on_candidate_count, qos.LATCHED)
        self._node.create_subscription(Bool, "steer_noise", self.on_steer_noise, qos.LATCHED)
        self._node.create_subscription(Noise, "noise", self.on_noise, qos.RING)

    def open(self) -> None:
        """Wait for noise from now on."""
        self._steered = Slot()

    def close(self) -> None:
        """Release who waits for noise."""
        self._steered.close()

    def on_candidate_count(self, msg: UInt32) -> None:
        """Take how many candidates steering_node wants."""
        self.candidate_count = max(1, msg.data)

    def on_steer_noise(self, msg: Bool) -> None:
        """Take whether steering_node's policy chooses the noise."""
        self.steers_noise = msg.data

    def on_noise(self, msg: Noise) -> None:
        """Take noise that steering_node chose."""
        try:
            noise = to_noise(msg)
        except ValueError as error:
            self._refuse("noise_bad", Reason.BAD_MESSAGE, str(error))
            return
        if not (self._node.active and self._steered.put(to_stamp(msg.stamp), noise)):
            self._node.counters["noise_late"] += 1

    # ---- in the thread that works ------------------------------------------------------------------------------------

    def expect(self, stamp: Stamp) -> bool:
        """A request is worked on; returns whether steering_node is to choose its noise."""
        is_steered = bool(self._node.param("steer_noise") if self.steers_noise is None else self.steers_noise)
        if is_steered:
            self._steered.expect(stamp)
        return is_steered

    def draw(
        self, spec: PolicySpec, request: Request, sequence: int, *, is_steered: bool, waited_s: float = 0.0
    ) -> Draw:
        """Noises of a proposal; waits for steering_node's.

        Args:
            spec: Of the model.
            request: Its seed, 0 takes the node's own. A trial's number of candidates, unless noise is steered.
            sequence: Of the request within the episode.
            is_steered: What `expect` returned.
            waited_s: Part of the deadline that is over, as other robots' noise was waited for.
        """
        param = self._node.param
        asked = 0 if is_steered or request.kind != Request.TRIAL else request.n_candidates
        n = min(asked or self.candidate_count or param("n_candidates"), param("max_candidates"))
        if not spec.takes_noise:
            return Draw(np.zeros((n, *spec.noise_shape), np.float32))
        gaussian = draw_noise(n, spec, request.seed or param("seed"), sequence)
        if not is_steered:
            return Draw(gaussian)
        steered = self._steered.wait(max(0.0, param("steer_deadline_s") - waited_s))
        if steered is None or steered.shape != (n, *spec.chunk_shape):
            self._node.counters["noise_timed_out" if steered is None else "noise_bad"] += 1
            return Draw(gaussian, has_timed_out=True)
        return Draw(merge_noise(steered, gaussian), is_steered=True)
