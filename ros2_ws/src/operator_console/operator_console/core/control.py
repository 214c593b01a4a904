# SPDX-License-Identifier: Apache-2.0
"""Who is in control: one page at a time, for as long as its heartbeats come. Time is passed in.

Every page may press the emergency stop. Everything else is for the page in control. A page in control that closes, or
whose heartbeats stop, is a lost operator: the emergency stop is pressed for it, and stays until a person releases it.
"""

from __future__ import annotations

from dataclasses import dataclass


class ControlError(PermissionError):
    """The page may not do this now; the text says why."""


@dataclass
class Page:
    """A page that is open in a browser.

    Attributes:
        key: Unguessable name of it.
        viewer: Who looks at it, in words.
        connection: Number of its connection; a page that connects anew gets another one.
        beat_s: When it was heard last.
    """

    key: str
    viewer: str
    connection: int
    beat_s: float


@dataclass(frozen=True)
class LostOperator:
    """The page in control has gone.

    Attributes:
        viewer: Whose it was.
        why: In words.
    """

    viewer: str
    why: str


class ControlDesk:
    """Gives control to one page at a time.

    Args:
        timeout_s: Silence of the page in control after which its operator is lost.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._pages: dict[str, Page] = {}
        self._operator = ""
        self._connections = 0

    @property
    def viewers(self) -> int:
        """How many pages are open."""
        return len(self._pages)

    @property
    def operator(self) -> str:
        """Who is in control, in words; empty for nobody."""
        return self._pages[self._operator].viewer if self._operator else ""

    def controls(self, key: str) -> bool:
        """Whether this page is in control."""
        return bool(key) and key == self._operator

    def open(self, key: str, viewer: str, now_s: float) -> int:
        """A page was opened, or connects anew; returns the number of its connection."""
        self._connections += 1
        self._pages[key] = Page(key, viewer, self._connections, now_s)
        return self._connections

    def close(self, key: str, connection: int) -> LostOperator | None:
        """A connection was closed; who was lost by that, None when its page was not in control or has a newer one."""
        page = self._pages.get(key)
        if page is None or page.connection != connection:
            return None
        del self._pages[key]
        if key != self._operator:
            return None
        self._operator = ""
        return LostOperator(page.viewer, "its connection was closed while it was in control")

    def beat(self, key: str, now_s: float) -> None:
        """A page was heard."""
        if key in self._pages:
            self._pages[key].beat_s = now_s

    def take(self, key: str) -> None:
        """Give control to a page.

        Raises:
            ControlError: Another one has it, or this one is not connected.
        """
        if self._operator and key != self._operator:
            raise ControlError(f"{self.operator} is in control; one page at a time is")
        if key not in self._pages:
            raise ControlError("this page is not connected: reload it")
        self._operator = key

    def release(self, key: str) -> None:
        """Give control back, if this page has it."""
        if key == self._operator:
            self._operator = ""

    def check(self, key: str) -> Page:
        """The page in control.

        Raises:
            ControlError: It is another one, or nobody.
        """
        if not self.controls(key):
            held = f"{self.operator} is in control" if self._operator else "nobody is in control: take control first"
            raise ControlError(held)
        return self._pages[key]

    def check_heartbeat(self, now_s: float) -> LostOperator | None:
        """Who has been lost, told once; the page stays open and may take control again."""
        if not self._operator:
            return None
        page = self._pages[self._operator]
        silent_s = now_s - page.beat_s
        if silent_s <= self.timeout_s:
            return None
        self._operator = ""
        return LostOperator(page.viewer, f"no heartbeat of its page for {silent_s:.2f} s while it was in control")
