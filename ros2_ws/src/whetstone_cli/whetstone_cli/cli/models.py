# SPDX-License-Identifier: Apache-2.0
"""`whetstone model inspect DIR`: whether a checkpoint can be served on a robot, before anything is started.

The same for the model behind a policy server.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from vla_policy.core.published.report_lines import ModelReport, RobotNames
from vla_policy.core.remote.address import AddressError, api_key, checked_address, is_address
from whetstone_cli.cli import outputs
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.model_options import model_directory
from whetstone_cli.cli.options import robot_of
from whetstone_cli.cli.screen import console
from whetstone_cli.core import report as reports

_SERVER_S = 120.0  # for a server that loads and compiles its model
_commands = typer.Typer(help="Checkpoints of vision-language-action models.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(_commands, name="model")


@_commands.callback()
def model() -> None:
    """Checkpoints of vision-language-action models."""


@_commands.command()
def inspect(
    directory: Annotated[
        str, typer.Argument(help="Checkpoint directory, a model of the Hugging Face hub, or a policy server (ws://).")
    ],
    robot: Annotated[str, typer.Option(help="Robot file.")] = "sim_panda",
    mapping: Annotated[Path | None, typer.Option(help="Mapping file; whetstone.yaml beside it by default.")] = None,
    template: Annotated[Path | None, typer.Option(help="Write a mapping file to fill in.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
) -> None:
    """Report what a PI0 checkpoint holds, what must be mapped, and whether it can be served. Exit code 1 if not."""
    outputs.check_files(json, template)
    found = robot_of(robot)
    names = RobotNames(found.contract_joints, tuple(found.cameras))
    if is_address(directory):
        made = _inspect_server(directory, names, mapping)
        start = f"backend:=remote remote:={directory} model_mapping:={mapping}"
    else:
        from vla_policy.core.published import report as models  # imports torch, which the other commands do not need

        made = models.inspect(model_directory(directory), names, "" if mapping is None else str(mapping))
        start = f"--model-dir {directory}"
    _show(made, f"whetstone up {start}")
    if json is not None:
        body = {"can_be_served": made.can_be_served, "lines": [asdict(line) for line in made.lines]}
        reports.write_json(json, body)
    if made.template:
        _offer(made.template, template)
    if not made.can_be_served:
        raise typer.Exit(1)


def _inspect_server(address: str, robot: RobotNames, mapping: Path | None) -> ModelReport:
    from vla_policy.core.remote.report import inspect_server

    try:
        key = api_key("", os.environ)
        checked_address(address)
    except AddressError as error:
        raise UserError(str(error)) from error
    return inspect_server(address, robot, "" if mapping is None else str(mapping), key=key, start_s=_SERVER_S)


def _show(made: ModelReport, start: str) -> None:
    table = Table()
    for title in ("", "what", "found"):
        table.add_column(title, overflow="fold")
    for line in made.lines:
        table.add_row(Text("ok", "green") if line.is_ok else Text("no", "red"), line.field, Text(line.text))
    console.print(table)
    reasons = [f"{line.field}: {line.text}" for line in made.lines if not line.is_ok]
    if reasons:
        console.print(Text.assemble(("cannot be served:", "bold red"), " ", reasons[0]))
    else:
        console.print(Text.assemble(("can be served:", "bold green"), f" {start}"))


def _offer(text: str, path: Path | None) -> None:
    if path is None:
        console.print("\nSave this as a mapping file (whetstone.yaml beside a checkpoint), once every line is right:\n")
        console.print(text, highlight=False, markup=False, soft_wrap=True)
        return
    if path.exists():
        raise UserError(f"{path} exists already\n\nName another file with --template.")
    path.write_text(text, encoding="utf-8")
    console.print(f"mapping file to fill in: {path}")
