# SPDX-License-Identifier: Apache-2.0
"""Between vla_interfaces/EpisodeMark and an operator's mark."""

from __future__ import annotations

from rclpy.node import Node
from vla_interfaces.msg import EpisodeMark

from robot_operation.core.marks import Mark

_NUMBERS = {mark: int(getattr(EpisodeMark, mark.name)) for mark in Mark}
_MARKS = {number: mark for mark, number in _NUMBERS.items()}


def to_mark_message(mark: Mark, node: Node) -> EpisodeMark:
    """Message of a mark that a node publishes now."""
    now = node.get_clock().now().to_msg()
    return EpisodeMark(mark=_NUMBERS[mark], source=node.get_fully_qualified_name(), time=now)


def mark_of(msg: EpisodeMark) -> Mark:
    """Mark of a message.

    Raises:
        ValueError: The number is no mark.
    """
    if msg.mark not in _MARKS:
        known = ", ".join(f"{number} ({mark.value})" for number, mark in _MARKS.items())
        raise ValueError(f"mark is {msg.mark}, allowed are {known}")
    return _MARKS[msg.mark]
