# SPDX-License-Identifier: Apache-2.0
"""The page of the figures: written as a whole, or some of its sections alone, each with what it was measured on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from figures import Figure, table

HEAD = """# Performance

Made by `make bench ARGS=--docs`; the same figures are in `out/bench.json`. Less is run by
`make bench ARGS="--only serving,arm --quick"`, and `--only NAME --docs` writes the sections of that benchmark alone.
Each figure is a median and a 99th percentile. A ratio compares two medians of the same run, so that it says something
on another machine too. These are measurements, not tests: nothing in CI fails on them.

"""
_SECTION = re.compile(r"^## .*\n(?:(?!## ).*\n?)*", re.MULTILINE)


def whole(machine: Mapping[str, str], figures: Sequence[Figure]) -> str:
    """The page of a run of all benchmarks."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in machine.items())
    return f"{HEAD}## Machine\n\n| | |\n|---|---|\n{rows}\n\n{table(figures)}".rstrip() + "\n"


def with_sections(page: str, machine: Mapping[str, str], figures: Sequence[Figure]) -> str:
    """A page whose other sections stay as they are.

    Args:
        page: As it was.
        machine: What the new figures were taken on; each of their sections ends with it.
        figures: Of the sections that are replaced, or added at the end.
    """
    conditions = "Measured apart from the rest: " + ", ".join(f"{key} {value}" for key, value in machine.items())
    for group in dict.fromkeys(figure.group for figure in figures):
        section = f"{table([figure for figure in figures if figure.group == group])}\n{conditions}.\n\n"
        old = next((match for match in _SECTION.finditer(page) if match[0].startswith(f"## {group}\n")), None)
        page = (
            page.rstrip("\n") + "\n\n" + section if old is None else page[: old.start()] + section + page[old.end() :]
        )
    return HEAD + page[page.index("## ") :].rstrip() + "\n"
