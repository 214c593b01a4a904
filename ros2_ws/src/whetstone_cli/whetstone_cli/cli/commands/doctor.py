# SPDX-License-Identifier: Apache-2.0
"""`whetstone doctor`: is this machine ready?"""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from whetstone_cli.cli import outputs
from whetstone_cli.cli.arguments import JsonFile
from whetstone_cli.cli.doctor import findings
from whetstone_cli.cli.screen import console
from whetstone_cli.core import report


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(json: JsonFile = None) -> None:
    """Check this machine and say how to put right what is wrong."""
    outputs.check_files(json)
    found = findings()
    table = Table()
    for name in ("", "what", "found", "how to fix"):
        table.add_column(name)
    for finding in found:
        sign = Text("ok", "green") if finding.ok else Text("no", "red")
        table.add_row(sign, finding.name, finding.detail, finding.fix)
    console.print(table)
    if json is not None:
        report.write_json(json, {"findings": [asdict(finding) for finding in found]})
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)
