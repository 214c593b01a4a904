# SPDX-License-Identifier: Apache-2.0
"""Every method with its settings, as `whetstone methods` shows them."""

from __future__ import annotations

from pathlib import Path

from rl_methods.describe import settings_of
from rl_methods.registry import METHODS, NEEDS
from site_pages.tables import cell, code, table

DOCS = Path(__file__).resolve().parents[2] / "docs"


def pages() -> dict[str, str]:
    """The page, by its path below docs/."""
    overview = [
        (f"[`{name}`](#{name})", cell(entry.summary), ", ".join(entry.needs) or "nothing")
        for name, entry in METHODS.items()
    ]
    needs = [(code(need), cell(text)) for need, text in NEEDS.items()]
    lines = ["# Methods\n", "`whetstone methods` and `whetstone methods NAME` show the same.\n"]
    lines += [table(("method", "what it does", "needs"), overview), table(("need", "meaning"), needs)]
    for name, entry in METHODS.items():
        lines.append(f"## {name} {{: #{name} }}\n\n{_sentence(entry.summary)}\n")
        if (DOCS / "explanation" / "methods" / f"{name}.md").is_file():
            lines.append(f"How it works, and what was measured: [{name}](../explanation/methods/{name}.md).\n")
        rows = [
            (code(f"{s.block}.{s.name}"), code(s.kind), code(s.default), code(s.shipped), cell(s.text))
            for s in settings_of(name)
        ]
        titles = ("setting", "type", "default", "shipped", "meaning")
        lines.append(table(titles, rows) or "It has no settings.\n")
    return {"reference/methods.md": "\n".join(lines)}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
