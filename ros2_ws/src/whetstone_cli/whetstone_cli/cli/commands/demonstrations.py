# SPDX-License-Identifier: Apache-2.0
"""Demonstrations: recorded, exported as a dataset, prepared for a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from rl_methods.registry import DEFAULT_ONLINE
from whetstone_cli.cli import demos as demos_command
from whetstone_cli.cli import jobs, outputs, run_settings
from whetstone_cli.cli.arguments import Episodes, JsonFile, Mapping, ModelDir, RobotFile, Seed, Task
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.exporting import export_dataset
from whetstone_cli.cli.options import BackendName, Namespace
from whetstone_cli.cli.screen import console


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(demos)
    app.command()(export)
    app.command()(prior)


def demos(
    task: Task = "pick_place",
    episodes: Episodes = 10,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for recordings and dataset.")] = Path("out/demos"),
    robot: RobotFile = "sim_panda",
    namespace: Namespace = "",
    json: JsonFile = None,
) -> None:
    """Record demonstrations of the scripted expert through the graph; export them as a LeRobotDataset."""
    demos_command.run(demos_command.DemosOptions(task, episodes, seed, out, robot, namespace), json)


def export(
    recordings: Annotated[Path, typer.Argument(help="Folder of MCAP recordings.")],
    out: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    robot: RobotFile = "sim_panda",
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out recordings that cannot be used, and say which.")
    ] = False,
    keep_aborted: Annotated[
        bool, typer.Option("--keep-aborted", help="Export aborted episodes too, as failures.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="File in the folder to export; give it once for each, none for all.")
    ] = None,
) -> None:
    """Export recordings as a LeRobotDataset of format v3.0."""
    files = sorted(recordings.glob("*.mcap"))
    if not files:
        raise UserError(f"no .mcap file in {recordings}")
    if only:
        if missing := sorted(set(only) - {path.name for path in files}):
            raise UserError(f"no recording {missing[0]} in {recordings}\n\nName files of that folder, with .mcap.")
        files = [path for path in files if path.name in set(only)]
    outputs.check_new_folder(out)
    done = export_dataset(files, out, robot, skip_damaged=skip_damaged, keep_aborted=keep_aborted)
    if done.aborted:
        console.print(f"[yellow]left out:[/] {done.aborted} aborted episodes", highlight=False)
    for text in done.skipped:
        console.print(Text.assemble(("left out:", "yellow"), " ", text))
    console.print(f"{done.episodes} of {len(files)} episodes, {done.frames} frames: {out}")


def prior(
    dataset: Annotated[Path, typer.Argument(help="Folder of a LeRobotDataset of format v3.0.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    method: Annotated[str, typer.Option(help="Method that will learn from it.")] = DEFAULT_ONLINE,
    backend: Annotated[BackendName, typer.Option(help="Kind of model.")] = BackendName.ONNX,
    model_dir: ModelDir = "",
    robot: RobotFile = "sim_panda",
    n_candidates: Annotated[int, typer.Option(min=1, max=64, help="Chunks per look.")] = run_settings.CANDIDATES,
    stride: Annotated[int, typer.Option(min=1, max=100, help="Frames between two looks of the policy.")] = 2,
    mapping: Mapping = None,
) -> None:
    """Make of recorded demonstrations what `train --prior` knows from the start."""
    options = jobs.PriorOptions(dataset, out, method, backend.value, model_dir, robot, n_candidates, stride, mapping)
    jobs.make_prior(options)
