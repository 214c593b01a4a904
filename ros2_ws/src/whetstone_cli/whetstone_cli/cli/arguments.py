# SPDX-License-Identifier: Apache-2.0
"""Arguments that several commands have: their types, help and checks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from rl_methods.devices import check_device_name
from whetstone_cli.cli.options import robot_names, task_names, task_of


def finite(value: float) -> float:
    """NaN is below no bound and above none."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not allowed: a finite number is")
    return value


def device_name(value: str) -> str:
    """Name of a device, whether this machine has it or not."""
    try:
        check_device_name(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return value


Task = Annotated[
    str,
    typer.Option(callback=task_of, autocompletion=task_names, help="Task, by name or by the path of its file (.yaml)."),
]
RobotFile = Annotated[str, typer.Option(autocompletion=robot_names, help="Robot file, by name or path.")]
Episodes = Annotated[int, typer.Option(min=1, max=100000, help="Number of episodes.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the first episode.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
ModelDir = Annotated[str, typer.Option(help="Directory of the model; empty for the shipped one.")]
Prior = Annotated[
    Path | None, typer.Option(help="Folder of a run, or of demonstrations, that has a share of what is learnt from.")
]
FinetuneAt = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=1.0,
        callback=finite,
        help="Share of the run after which the VLA is fine-tuned on it, 0 for never.",
    ),
]
Mapping = Annotated[
    Path | None, typer.Option(help="File that says in which names, order and units the robot's joints are recorded.")
]
Distil = Annotated[bool, typer.Option("--distil/--no-distil", help="At the end, fine-tune the VLA on the whole run.")]
Device = Annotated[
    str,
    typer.Option(callback=device_name, help="Where the learner's networks learn: cpu, cuda, cuda:1, or auto."),
]
Runs = Annotated[Path, typer.Option(help="Folder that holds one folder per training run.")]
Log = Annotated[Path, typer.Option(help="Output of all nodes.")]
