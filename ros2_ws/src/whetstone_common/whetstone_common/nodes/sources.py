# SPDX-License-Identifier: Apache-2.0
"""Which publisher a message came from, by identity and by the name of its node."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

from whetstone_common.core.sources import UNKNOWN, Source, identity_of
from whetstone_common.nodes.graph import full_name, identity, publishers

# The graph may know of a publisher later than its first message arrives.
_ASK_AGAIN_S = 1.0
_MAX_KNOWN = 64


def with_source(callback: Callable[[Any, bytes], None]) -> Callable[..., None]:
    """A subscription's callback that is told which publisher a message came from; empty where ROS does not say."""
    return _with_info(callback, lambda info: (_gid(info),))


def with_source_and_order(callback: Callable[[Any, bytes, int], None]) -> Callable[..., None]:
    """As `with_source`, with a number that grows with each message of a publisher."""
    return _with_info(
        callback, lambda info: (_gid(info), info.get("publication_sequence_number") or info["source_timestamp"])
    )


def _gid(info: Any) -> bytes:
    return bytes((info.get("publisher_gid") or {}).get("data", b""))


def _with_info(callback: Callable[..., None], fields: Callable[[Any], tuple[Any, ...]]) -> Callable[..., None]:
    """Hand on fields of the message's info.

    rclpy decides by the signature whether to give both; its executor driven by events gives them as one pair.
    """

    def heard(*given: Any) -> None:
        msg, info = given[0] if len(given) == 1 else given
        callback(msg, *fields(info))

    heard.__name__ = getattr(callback, "__name__", "heard")
    heard.__signature__ = inspect.signature(lambda msg, info: None)  # type: ignore[attr-defined]
    return heard


class Publishers:
    """The publishers of one topic by identity.

    Args:
        node: Ours, whose graph is asked.
        topic: As the subscription was created with.
    """

    def __init__(self, node: Any, topic: str) -> None:
        self._node, self._topic = node, topic
        self._known: dict[bytes, Source] = {}
        self._asked_s: dict[bytes, float] = {}

    def source(self, gid: bytes) -> Source:
        """Publisher of a message; without a name until the graph knows it."""
        if not gid:
            return UNKNOWN
        known = self._known.get(gid)
        return known or self._ask(gid)

    def _ask(self, gid: bytes) -> Source:
        now_s = time.monotonic()
        unnamed = Source(identity_of(gid))
        if now_s - self._asked_s.get(gid, -_ASK_AGAIN_S) < _ASK_AGAIN_S:
            return unnamed
        if len(self._asked_s) > _MAX_KNOWN:
            self._known.clear()
            self._asked_s.clear()
        self._asked_s[gid] = now_s
        for info in publishers(self._node, self._topic):
            if identity(info) == unnamed.identity:
                self._known[gid] = Source(unnamed.identity, full_name(info))
                return self._known[gid]
        return unnamed
