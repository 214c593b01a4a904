# SPDX-License-Identifier: Apache-2.0
"""What the policy is asked: a request that nobody heard is said again as soon as somebody listens."""

from __future__ import annotations

from collections.abc import Callable

from vla_interfaces.msg import Request

from whetstone_common.core.stamp import Stamp
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_stamp
from whetstone_common.nodes.node import WhetstoneNode


class RequestPublisher:
    """Publishes requests; called under the lock of the node.

    Args:
        node: Publishes.
    """

    def __init__(self, node: WhetstoneNode) -> None:
        self._publisher = node.create_publisher(Request, "request", qos.RING)
        self._unheard: Request | None = None

    def publish(self, request: Request) -> None:
        """Publish a request; when nobody listens yet, keep it."""
        self._unheard = None if self._publisher.get_subscription_count() else request
        self._publisher.publish(request)

    def repeat(self, waits_for: Callable[[Stamp], bool]) -> None:
        """Say the newest request again if nobody had heard it.

        Args:
            waits_for: Whether a request still waits for its chunk.
        """
        request = self._unheard
        if request is None or not self._publisher.get_subscription_count():
            return
        self._unheard = None
        if waits_for(to_stamp(request.stamp)):
            self._publisher.publish(request)
