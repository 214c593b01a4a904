# SPDX-License-Identifier: Apache-2.0
"""`whetstone methods [NAME]`: what there is to choose from, what it needs, and everything that it can be told."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from rl_methods.registry import DEFAULT_ONLINE, NEEDS, entry, method_names, trainable_methods
from whetstone_cli.cli import outputs
from whetstone_cli.cli.arguments import JsonFile
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.screen import console
from whetstone_cli.core import report


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(methods)


def methods(
    name: Annotated[str, typer.Argument(autocompletion=method_names, help="Method to explain; empty for all.")] = "",
    json: JsonFile = None,
) -> None:
    """List the methods and what each needs, or every setting of one."""
    outputs.check_files(json)
    if not name:
        _list()
        if json is not None:
            report.write_json(json, _figures())
    elif name in method_names():
        _explain(name)
    else:
        raise UserError(f"there is no method {name!r}\n\nChoose from: {', '.join(method_names())}")


def _list() -> None:
    table = Table()
    for title in ("method", "what it does", "needs"):
        table.add_column(title)
    for name in method_names():
        method = entry(name)
        table.add_row(name, method.summary, ", ".join(method.needs) or "nothing")
    console.print(table)
    for need, text in NEEDS.items():
        console.print(f"{need}: {text}", highlight=False)


def _figures() -> dict[str, Any]:
    """What goes to JSON: what other programs offer to a person."""
    trainable = trainable_methods()
    known = [
        {"name": name, "summary": entry(name).summary, "needs": entry(name).needs, "trainable": name in trainable}
        for name in method_names()
    ]
    return {"default": DEFAULT_ONLINE, "methods": known}


def _explain(name: str) -> None:
    from rl_methods.describe import settings_of  # imports torch, which the list does not need

    console.print(Text.assemble((name, "bold"), f": {entry(name).summary}"), highlight=False)
    console.print(f"needs: {', '.join(entry(name).needs) or 'nothing'}", highlight=False)
    table = Table()
    for title in ("setting", "type", "default", "shipped", "what it means"):
        table.add_column(title, overflow="fold")
    lines = settings_of(name)
    for line in lines:
        cells = (f"{line.block}.{line.name}", line.kind, line.default, line.shipped, line.text)
        table.add_row(*cells)
    console.print(table if lines else "no settings", highlight=False)
