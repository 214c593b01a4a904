# SPDX-License-Identifier: Apache-2.0
"""Every `whetstone` command with its arguments and options, as its parser knows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from site_pages.tables import cell, code, table
from whetstone_cli.cli.main import app


def commands() -> Iterator[tuple[str, Any]]:
    """Full name and parser of each command that can be called."""
    yield from _below("whetstone", typer.main.get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for word, one in sorted(command.commands.items()):
            yield from _below(f"{name} {word}", one)
    elif not command.hidden:
        yield name, command


def pages() -> dict[str, str]:
    """The page, by its path below docs/."""
    lines = [
        "# Command line\n",
        "`whetstone COMMAND --help` shows the same. `--debug` shows the traceback of an error.\n",
    ]
    for name, command in commands():
        context = command.context_class(command, info_name=name)
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        records = [record for each in command.params if (record := each.get_help_record(context)) is not None]
        rows = [(code(names), *_split(text)) for names, text in records]
        lines += [f"## {name}\n", f"{cell(command.help)}\n", f"```\n{usage}\n```\n"]
        lines.append(table(("argument or option", "meaning", "default and range"), rows))
    return {"reference/command-line.md": "\n".join(lines)}


def _split(text: str) -> tuple[str, str]:
    """Meaning, and what the parser adds in brackets."""
    meaning, _, added = text.partition("  [")
    return cell(meaning), code(added.removesuffix("]"))
