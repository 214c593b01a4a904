# SPDX-License-Identifier: Apache-2.0
"""`whetstone console`: the operator console for the stack that runs, until Ctrl-C."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.operate import PANEL
from whetstone_cli.cli.options import Namespace
from whetstone_cli.cli.stack import own_environment

_PACKAGE, _NODE = "operator_console", "console_node"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("console", rich_help_panel=PANEL)(serve)


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port of the page.")] = 8600,
    host: Annotated[str, typer.Option(help="Address; any but this machine's own needs a token and TLS.")] = "127.0.0.1",
    host_name: Annotated[
        list[str] | None, typer.Option(help="Further name under which browsers call the page.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File whose first line is the token.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key of the certificate (PEM).")] = None,
    robot: Annotated[str, typer.Option(help="Robot file; gives the cameras.")] = "sim_panda",
    log: Annotated[Path, typer.Option(help="Every command, one JSON line each.")] = Path("out/console.jsonl"),
    runs: Annotated[Path, typer.Option(help="Folder that holds one folder per training run.")] = Path("runs"),
    recordings: Annotated[Path, typer.Option(help="Folder of recorded episodes.")] = Path("recordings"),
    datasets: Annotated[
        Path, typer.Option(help="Folder of datasets and demonstrations; exports of the page go there.")
    ] = Path("out"),
    namespace: Namespace = "",
) -> None:
    """Serve the operator console, a page in the browser, for the stack that runs; until Ctrl-C."""
    parameters: dict[str, object] = {
        "port": port,
        "host": host,
        "robot_file": robot,
        "command_log": str(log.absolute()),
        "run_dir": str(runs.absolute()),
        "record_dir": str(recordings.absolute()),
        "dataset_dir": str(datasets.absolute()),
    }
    files = {"token_file": token_file, "tls_cert": tls_cert, "tls_key": tls_key}
    parameters |= {name: str(path.absolute()) for name, path in files.items() if path is not None}
    if host_name:
        parameters["host_names"] = host_name
    command = [str(_executable()), "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={json.dumps(value)}"]  # ROS reads YAML, of which JSON is a part
    if namespace:
        command += ["-r", f"__ns:={namespace}"]
    # Replaces this process: signals go straight to the node.
    os.execve(command[0], command, own_environment(None))  # noqa: S606


def _executable() -> Path:
    try:
        path = Path(get_package_prefix(_PACKAGE)) / "lib" / _PACKAGE / _NODE
    except PackageNotFoundError as error:
        raise UserError(f"the package {_PACKAGE} is not installed\n\nBuild the workspace: make setup") from error
    if not path.is_file():
        raise UserError(f"no executable {path}\n\nBuild the workspace again: make build")
    return path
