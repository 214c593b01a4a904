# SPDX-License-Identifier: Apache-2.0
"""Whose weights are taken: those of the publisher of the set accepted last, as long as it lives."""

from __future__ import annotations

from whetstone_common.core.sources import identity_of
from whetstone_common.nodes.graph import identity
from whetstone_common.nodes.node import WhetstoneNode


class FollowedPublisher:
    """The publisher of weights that a node follows.

    Args:
        node: Looks at the graph.
        topic: Of the weights.
        is_signed: Whether sets are signed with a key; then it does not matter who sends them.
    """

    def __init__(self, node: WhetstoneNode, topic: str, *, is_signed: bool) -> None:
        self._node, self._topic, self._is_signed = node, topic, is_signed
        self._source = b""

    def follow(self, source: bytes) -> None:
        """Keep to the publisher (gid) of a set that was accepted."""
        self._source = source

    def is_foreign(self, source: bytes) -> bool:
        """Whether another publisher than `source` is followed, and lives."""
        if self._is_signed or not self._source or source == self._source:
            return False
        known = self._node.get_publishers_info_by_topic(self._topic)
        return any(identity(info) == identity_of(self._source) for info in known)
