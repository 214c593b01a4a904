# SPDX-License-Identifier: Apache-2.0
"""The line below commands: what came of the last one, and until there was one, what it takes to give one."""

from __future__ import annotations

from nicegui import ui


class AnswerLine:
    """One line of text.

    Args:
        name: Of the element, as the page knows it.
        hint: Shown to a page that is not in control, as long as there is no answer.
    """

    def __init__(self, name: str, hint: str) -> None:
        self._hint, self._answer = hint, ""
        self._label = ui.label(hint).props(f"id={name}").classes("text-sm")

    def show(self, answer: str) -> None:
        """Show what came of a command."""
        self._answer = answer
        self._label.set_text(answer)

    def refresh(self, *, controls: bool) -> None:
        """Take the hint away from a page in control, and give it back to one that is not any more."""
        self._label.set_text(self._answer or ("" if controls else self._hint))
