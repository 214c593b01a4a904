# SPDX-License-Identifier: Apache-2.0
"""The emergency stop as the sum of its sources: any of them presses it, and each can only release itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# A middleware that does not say who published: all publishers count as one source.
UNIDENTIFIED = "unidentified"


@dataclass
class _Source:
    """What one publisher said last.

    Attributes:
        name: Node name, for people.
        pressed: Whether it presses.
        press_order: Order of its newest press.
        vanished: Whether it has left the graph.
    """

    name: str
    pressed: bool = False
    press_order: int = -1
    vanished: bool = False


class EstopSources:
    """State of every publisher of the emergency stop.

    A source that vanishes while it presses may be a button whose cable was cut, so it stays pressed until a reset.
    """

    def __init__(self) -> None:
        """No source yet, nothing pressed."""
        self._sources: dict[str, _Source] = {}

    @property
    def pressed(self) -> bool:
        """Whether any source presses."""
        return any(source.pressed for source in self._sources.values())

    @property
    def text(self) -> str:
        """Who presses, in words; empty when nobody does."""
        return ", ".join(
            f"pressed by {each.name}" + (", which has vanished" if each.vanished else "")
            for each in self._sources.values()
            if each.pressed
        )

    def update(self, source: str, order: int, *, pressed: bool) -> None:
        """Take a message.

        Args:
            source: Identity of the publisher (gid in hexadecimal).
            order: Grows with each message of a source. The same message may arrive again and late, by
                another subscription; a release that is older than the newest press is ignored, a press never is.
            pressed: What it says.
        """
        state = self._sources.setdefault(source, _Source(source))
        state.vanished = False
        if pressed:
            state.pressed, state.press_order = True, max(order, state.press_order)
        elif order > state.press_order:
            state.pressed = False

    def see(self, present: Mapping[str, str]) -> None:
        """Compare with the publishers in the graph.

        Args:
            present: Node name by identity of the publisher.
        """
        for identity, source in list(self._sources.items()):
            if identity == UNIDENTIFIED:
                continue
            source.vanished = identity not in present
            source.name = present.get(identity, source.name)
            if source.vanished and not source.pressed:
                del self._sources[identity]

    def forget_vanished(self) -> None:
        """Release what vanished while pressed; only the operator's reset may ask for this."""
        self._sources = {identity: each for identity, each in self._sources.items() if not each.vanished}
