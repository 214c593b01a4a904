# SPDX-License-Identifier: Apache-2.0
"""What the sender of weights is told, and what people are shown of it."""

from __future__ import annotations

from collections import deque
from typing import Any

from vla_interfaces.msg import WeightsAck

from rl_methods.common.weights import PolicyManifest, WeightsError
from vla_policy.nodes.weights_wire import from_verdict
from whetstone_common.core.reason import Reason
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode

_ANSWERED = 64  # refusals remembered, so that a flood of one is answered once


class WeightsAnswers:
    """Publishes acknowledgements and refusals.

    Args:
        node: Publishes, counts and warns.

    Attributes:
        alarm: Reason and words of the newest refusal, None since a set was accepted.
    """

    def __init__(self, node: WhetstoneNode) -> None:
        self._node = node
        self._publisher = node.create_publisher(WeightsAck, "weights_ack", qos.RECORD)
        self._answered: deque[tuple[Any, ...]] = deque(maxlen=_ANSWERED)
        self.alarm: tuple[Reason, str] | None = None

    def acknowledge(self, manifest: PolicyManifest) -> None:
        """The set is here; whether it is new or was asked about again."""
        self._publisher.publish(from_verdict(manifest, "", self._now_ns()))

    def refuse(self, manifest: PolicyManifest, error: WeightsError) -> bool:
        """Count, warn and answer; once per set and reason, so that a flood of it costs nothing.

        Returns:
            Whether this refusal is a new one.
        """
        self._node.counters["weights_refused"] += 1
        what = (manifest.run, manifest.version, manifest.sha256, error.reason)
        if what in self._answered:
            return False
        self._answered.append(what)
        reason = Reason.SECOND_SOURCE if error.reason in ("source", "signature") else Reason.BAD_MESSAGE
        self.alarm = (reason, f"version {manifest.version} refused ({error.reason}): {error}")
        self._node.get_logger().warning(self.alarm[1])
        self._publisher.publish(from_verdict(manifest, f"{error.reason}: {error}", self._now_ns()))
        return True

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
