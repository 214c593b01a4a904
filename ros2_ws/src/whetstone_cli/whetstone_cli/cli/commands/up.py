# SPDX-License-Identifier: Apache-2.0
"""`whetstone up`: the stack in this terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.model_options import model_arguments, model_directory, remote_arguments
from whetstone_cli.cli.options import Namespace
from whetstone_cli.cli.stack import launch_command, own_environment


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(up)


def up(
    arguments: Annotated[list[str] | None, typer.Argument(help="Launch arguments, name:=value.")] = None,
    namespace: Namespace = "",
    robots: Annotated[
        str, typer.Option(help="Only vla_node, for robots in these namespaces: robot_1,robot_2 (each with vla:=false).")
    ] = "",
    model_dir: Annotated[str, typer.Option(help="Directory of the model, a published checkpoint as well.")] = "",
    model_mapping: Annotated[
        Path | None,
        typer.Option(help="What a checkpoint's or a policy server's numbers mean; whetstone.yaml beside it."),
    ] = None,
) -> None:
    """Start the stack in this terminal and this ROS domain, until Ctrl-C."""
    given = asked = dict(_split(argument) for argument in arguments or [])
    if model_dir:
        given = model_arguments(model_directory(model_dir), given.get("backend", ""), model_mapping) | given
    if given.get("remote"):
        given = remote_arguments(given["remote"], model_mapping) | given
    if namespace and robots:
        raise UserError("--robots starts what serves all of them, --namespace one robot: give one of the two")
    if namespace:
        given["namespace"] = namespace
    if robots:
        # Images are fitted by the observation_node of each robot.
        given = {name: value for name, value in given.items() if name != "crop" or name in asked}
        given["robots"] = f"[{', '.join(robots.split(','))}]"
    command = launch_command("vla.launch.xml" if robots else "whetstone.launch.xml", given)
    # Replaces this process: signals go straight to the runner.
    os.execve(command[0], command, own_environment(None))  # noqa: S606


def _split(argument: str) -> tuple[str, str]:
    name, separator, value = argument.partition(":=")
    if not separator or not name:
        raise UserError(f"{argument!r} is no launch argument\n\nWrite name:=value, for example sim:=true.")
    return name, value
