# SPDX-License-Identifier: Apache-2.0
"""Where a robot hears that it is to stop."""

from __future__ import annotations

from typing import Any


def estop_topics(node: Any) -> tuple[str, ...]:
    """Absolute topics of the emergency stop: everybody's and the robot's own, which are one without a namespace."""
    names = (node.param("estop_topic"), node.param("own_estop_topic"))
    return tuple(dict.fromkeys(node.resolve_topic_name(name) for name in names))
