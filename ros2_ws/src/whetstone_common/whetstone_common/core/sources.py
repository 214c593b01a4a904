# SPDX-License-Identifier: Apache-2.0
"""Who publishes a stream, and what it means when two do."""

from __future__ import annotations

from dataclasses import dataclass, field

_NS_PER_S = 1_000_000_000
# A publisher that was heard within this time still speaks; a driver that was started anew replaces a silent one.
ALIVE_NS = _NS_PER_S // 2
# A conflict is shown for this long after it was last seen.
_SHOWN_NS = _NS_PER_S
_NEVER_NS = -(10**18)
# A gid has so many bytes; the rest is padding, of which message and graph may have different amounts.
_GID_BYTES = 16


def identity_of(gid: bytes) -> str:
    """Identity of a publisher, by which all that came from it is told from others': its gid, in hexadecimal.

    Args:
        gid: As a message's info or the graph has it; empty where the middleware does not say.
    """
    return gid[:_GID_BYTES].hex()


@dataclass(frozen=True)
class Source:
    """A publisher.

    Attributes:
        identity: Unique in the graph (gid in hexadecimal); empty where the middleware does not say.
        name: Fully qualified name of its node, for people.
    """

    identity: str = ""
    name: str = field(default="an unknown node", compare=False)


UNKNOWN = Source()


class Ownership:
    """One stream has one publisher: who was first keeps it while it speaks.

    A second one is refused. Only when the first speaks again after it are there two; else the second has replaced it.

    Args:
        what: The stream in words, for example "camera front".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.clear()

    def clear(self) -> None:
        """Forget everybody."""
        self._owner = self._rival = UNKNOWN
        self._owner_ns = self._rival_ns = self._conflict_ns = _NEVER_NS

    def problem(self, source: Source, now_ns: int) -> str:
        """Why a message of this source is refused; empty when it may be used.

        Args:
            source: Its publisher; one without an identity is never refused.
            now_ns: Steady clock (ns).
        """
        is_other = source.identity != self._owner.identity and source.identity and self._owner.identity
        if is_other and now_ns - self._owner_ns < ALIVE_NS:
            self._rival, self._rival_ns = source, now_ns
            return self._text()
        if is_other:
            self._rival_ns = _NEVER_NS  # it has replaced the first
        elif now_ns - self._rival_ns < ALIVE_NS:
            self._conflict_ns = now_ns
        self._owner, self._owner_ns = source, now_ns
        return ""

    def conflict(self, now_ns: int) -> str:
        """The two publishers in words while both speak, else empty.

        Args:
            now_ns: Steady clock (ns).
        """
        return self._text() if now_ns - self._conflict_ns < _SHOWN_NS else ""

    def _text(self) -> str:
        names = sorted((self._owner.name, self._rival.name))
        who = f"{names[0]} twice" if names[0] == names[1] else " and ".join(names)
        return f"{self._what} is published by {who}; stop one of them"
