# SPDX-License-Identifier: Apache-2.0
"""Markdown tables of the generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cell(text: object) -> str:
    """Text that stays within its cell."""
    return " ".join(str(text).split()).replace("|", "\\|")


def code(text: object) -> str:
    """Text set as code, nothing where there is none."""
    return f"`{cell(text)}`" if str(text) else ""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, empty without rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles), *lines]) + "\n"
