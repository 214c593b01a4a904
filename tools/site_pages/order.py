# SPDX-License-Identifier: Apache-2.0
"""Order of the pages: named ones first, all others of a folder after them, none left out."""

from __future__ import annotations

from typing import Any

# title, folder, pages that come first
_SECTIONS = (
    (
        "Tutorials",
        "tutorials",
        ("first-run", "sharpen-in-simulation", "your-own-task", "your-own-arm", "your-own-demonstrations"),
    ),
    ("How-to", "how-to", ("sharpen-a-policy", "evaluate-and-record", "run-on-your-arm", "look-inside")),
    ("Explanation", "explanation", ("how-it-works",)),
    ("Reference", "reference", ("results", "command-line", "launch-arguments", "methods", "reasons")),
    ("Decisions", "adr", ()),
)


def navigation(pages: set[str]) -> list[Any]:
    """Navigation of MkDocs.

    Args:
        pages: Paths below docs/.

    Raises:
        ValueError: A page lies in none of the sections.
    """
    rest = pages - {"index.md"}
    nav: list[Any] = [{"Home": "index.md"}]
    for title, folder, first in _SECTIONS:
        inside = sorted(page for page in rest if page.startswith(f"{folder}/"))
        rest -= set(inside)
        nav.append({title: _ordered(folder, inside, first)})
    if rest:
        raise ValueError(f"{sorted(rest)[0]} lies in no section: {', '.join(folder for _, folder, _ in _SECTIONS)}")
    return nav


def _ordered(folder: str, pages: list[str], first: tuple[str, ...]) -> list[Any]:
    direct = [page for page in pages if page.count("/") == folder.count("/") + 1]
    named = [f"{folder}/{name}.md" for name in first if f"{folder}/{name}.md" in direct]
    below = sorted({page.split("/")[folder.count("/") + 1] for page in pages if page not in direct})
    return [
        *named,
        *(page for page in direct if page not in named),
        *({name.capitalize(): [p for p in pages if p.startswith(f"{folder}/{name}/")]} for name in below),
    ]
