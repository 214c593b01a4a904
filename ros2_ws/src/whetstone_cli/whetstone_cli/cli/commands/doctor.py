# SPDX-License-Identifier: Apache-2.0
"""`whetstone doctor`: is this machine ready?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from whetstone_cli.cli import outputs
from whetstone_cli.cli.arguments import JsonFile
from whetstone_cli.cli.doctor import findings
from whetstone_cli.cli.options import Namespace
from whetstone_cli.cli.screen import console
from whetstone_cli.core import report


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    json: JsonFile = None,
    latency: Annotated[
        bool, typer.Option("--latency", help="Show where the time from request to chunk goes, in the stack that runs.")
    ] = False,
    namespace: Namespace = "",
) -> None:
    """Check this machine and say how to put right what is wrong."""
    outputs.check_files(json)
    if latency:
        _show_latency(namespace, json)
        return
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


def _show_latency(namespace: str, json: Path | None) -> None:
    from whetstone_cli.cli.latency import MEANINGS, measured  # with rclpy, which a check of the machine must not need

    found = measured(namespace)
    table = Table("stage", "median", "99 % within", "requests", "what")
    for stage, each in found.items():
        table.add_row(
            stage, f"{each.median_ms:.2f} ms", f"{each.p99_ms:.2f} ms", str(each.count), MEANINGS[stage]
        )  # fmt: skip
    console.print(table)
    if json is not None:
        report.write_json(json, {"latency": {stage: asdict(each) for stage, each in found.items()}})
