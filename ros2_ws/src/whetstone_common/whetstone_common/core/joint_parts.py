# SPDX-License-Identifier: Apache-2.0
"""Joint states by name, merged from messages that each hold some of a robot's joints.

An arm driver and a gripper driver often share one topic, so a message may hold any part of the joints. Each joint keeps
the message that it was read from, and with it a stamp, a time of receipt and a publisher of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from whetstone_common.core.sources import UNKNOWN, Ownership, Source

# No robot has this many joints; a longer list is a mistake or an attack, and is not looked through.
MAX_NAMES = 256
_MAX_SOURCES = 16
_MAX_SHOWN = 12
_S_PER_NS = 1e-9


class JointStateError(ValueError):
    """A message that is refused as a whole.

    Attributes:
        kind: For a counter: `length`, `repeated`, `not_finite`, `order`, `second_source`..., or what a caller adds.
    """

    def __init__(self, kind: str, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, eq=False)
class JointMessage:
    """A joint state as received.

    Attributes:
        names: Joint names.
        positions: Their positions, in the order of `names`.
        stamp_ns: ROS time of the measurement (ns).
        source: Its publisher.
    """

    names: Sequence[str]
    positions: Sequence[float]
    stamp_ns: int
    source: Source = UNKNOWN


@dataclass(frozen=True, eq=False)
class JointPart:
    """The joints of ours that one message held.

    Attributes:
        joints: Their names.
        stamp_ns: ROS time of the measurement (ns).
        heard_ns: When it was received, steady clock (ns).
    """

    joints: tuple[str, ...]
    stamp_ns: int
    heard_ns: int


class JointParts:
    """The newest position of each joint of a robot.

    Args:
        joints: Names of all joints that are wanted.
        topic: Where they are published, for the texts.
        confirm_back: Whether a stamp that lies before the last one is refused until the next message confirms that the
            clock went back. Without it such a message is taken at once.
    """

    def __init__(self, joints: Sequence[str], topic: str, *, confirm_back: bool = True) -> None:
        self._joints = tuple(joints)
        self._topic = topic
        self._confirm_back = confirm_back
        self._owners = {name: Ownership(f"{name} on {topic}") for name in joints}
        self._sent: dict[Source, dict[str, None]] = {}
        self.clear()

    def clear(self) -> None:
        """Forget all positions, for instance after the clock has jumped."""
        self._positions: dict[str, float] = {}
        self._parts: dict[str, JointPart] = {}
        self._back: dict[tuple[str, ...], int] = {}

    # ---- messages ----------------------------------------------------------------------------------------------------

    def take(self, message: JointMessage, now_ns: int) -> bool:
        """Take the joints of ours that a message holds; its other joints do not matter, whatever their values.

        Args:
            message: The message.
            now_ns: Steady clock (ns).

        Returns:
            Whether it held any.

        Raises:
            JointStateError: The message is refused; what was known before stays.
        """
        names = message.names
        if len(names) > MAX_NAMES or len(names) != len(message.positions):
            raise JointStateError("length", f"{len(names)} names and {len(message.positions)} positions")
        found = dict(zip(names, message.positions, strict=True))
        if len(found) != len(names):
            raise JointStateError("repeated", "a joint is named twice")
        self._note_sender(message)
        ours = tuple(name for name in self._joints if name in found)
        for name in ours:
            if not math.isfinite(found[name]):
                raise JointStateError("not_finite", f"{name} is {found[name]}, expected a finite position")
        self._check_source(ours, message.source, now_ns)
        self._check_order(ours, message.stamp_ns)
        part = JointPart(ours, message.stamp_ns, now_ns)
        self._positions |= {name: float(found[name]) for name in ours}
        self._parts |= dict.fromkeys(ours, part)
        return bool(ours)

    def _note_sender(self, message: JointMessage) -> None:
        sent = self._sent.pop(message.source, {})
        if len(sent) < MAX_NAMES:
            sent |= dict.fromkeys(message.names)
        self._sent[message.source] = sent  # the newest at the end
        if len(self._sent) > _MAX_SOURCES:
            del self._sent[next(iter(self._sent))]

    def _check_source(self, ours: tuple[str, ...], source: Source, now_ns: int) -> None:
        problems = [self._owners[name].problem(source, now_ns) for name in ours]
        for problem in filter(None, problems):
            raise JointStateError("second_source", problem)

    def _check_order(self, ours: tuple[str, ...], stamp_ns: int) -> None:
        newest_ns = max((self._parts[name].stamp_ns for name in ours if name in self._parts), default=stamp_ns)
        if stamp_ns >= newest_ns:
            self._back.pop(ours, None)
            return
        before_ns = self._back.get(ours)
        self._back[ours] = stamp_ns
        if not self._confirm_back or (before_ns is not None and stamp_ns > before_ns):
            del self._back[ours]
            return
        behind_s = (newest_ns - stamp_ns) * _S_PER_NS
        raise JointStateError("order", f"the stamp of {ours[0]} is {behind_s:.3f} s before its last one")

    # ---- what is known -----------------------------------------------------------------------------------------------

    @property
    def missing(self) -> tuple[str, ...]:
        """Joints that no message has held yet."""
        return tuple(name for name in self._joints if name not in self._parts)

    def positions(self, joints: Sequence[str]) -> list[float]:
        """Newest positions; only for joints that are not missing."""
        return [self._positions[name] for name in joints]

    def stamp_ns(self, joints: Sequence[str]) -> int:
        """Stamp of the oldest of these joints (ns); only for joints that are not missing."""
        return min(self._parts[name].stamp_ns for name in joints)

    def heard_ns(self, joints: Sequence[str]) -> list[int]:
        """When each of these joints was received, steady clock (ns); only for joints that are not missing."""
        return [self._parts[name].heard_ns for name in joints]

    def groups(self, joints: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Indices of these joints, grouped by the message that they were read from."""
        by_part: dict[int, list[int]] = {}
        for index, name in enumerate(joints):
            by_part.setdefault(id(self._parts[name]), []).append(index)
        return tuple(map(tuple, by_part.values()))

    # ---- in words ----------------------------------------------------------------------------------------------------

    def missing_text(self) -> str:
        """Which joints are missing and who publishes what; empty when nothing is missing or nothing was received."""
        if not self.missing or not self._sent:
            return ""
        return f"{shown(self.missing)} missing on {self._topic}: {self.senders_text()}"

    def senders_text(self) -> str:
        """Who publishes which joints."""
        return "; ".join(f"{source.name} publishes {shown(tuple(sent))}" for source, sent in self._sent.items())

    def conflict(self, now_ns: int) -> str:
        """Two publishers of one joint in words while both speak, else empty.

        Args:
            now_ns: Steady clock (ns).
        """
        found = (owner.conflict(now_ns) for owner in self._owners.values())
        return next(filter(None, found), "")


def shown(names: Sequence[str]) -> str:
    """Names in words; a long list is cut, an empty one is said to be none."""
    if not names:
        return "no joints"
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(names[:_MAX_SHOWN]) + more
