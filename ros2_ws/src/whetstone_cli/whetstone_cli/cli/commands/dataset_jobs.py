# SPDX-License-Identifier: Apache-2.0
"""Programs that read datasets: the success detector, fine-tuning, the curve of a value function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whetstone_cli.cli import jobs
from whetstone_cli.cli.arguments import Mapping, ModelDir, RobotFile
from whetstone_cli.cli.options import BackendName


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(classifier)
    app.command()(finetune)
    app.command()(value)


def classifier(
    datasets: Annotated[list[Path], typer.Argument(help="Folders of LeRobotDatasets of format v3.0.")],
    out: Annotated[Path, typer.Option(help="File to make (.safetensors).")],
    backend: Annotated[BackendName, typer.Option(help="Kind of model.")] = BackendName.ONNX,
    model_dir: ModelDir = "",
    robot: RobotFile = "sim_panda",
    success_frames: Annotated[int, typer.Option(min=1, help="Last frames of a success that show it.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Of the optimiser.")] = 400,
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="That the figures are measured at.")] = 0.85,
    proprio: Annotated[str, typer.Option(help="Proprioceptive number with a range, e.g. tcp_z_m.")] = "",
    proprio_range: Annotated[tuple[float, float], typer.Option(help="Range of it.")] = (0.0, 0.0),
    mapping: Mapping = None,
) -> None:
    """Train a success detector on marked frames: the last ones of successes against all others."""
    named: dict[str, str | int | float | Path] = {
        "out": out, "backend": backend.value, "robot": robot, "success-frames": success_frames, "steps": steps,
        "threshold": threshold,
    } | ({"model-dir": model_dir} if model_dir else {}) | ({} if mapping is None else {"mapping": mapping})  # fmt: skip
    test = [f"--proprio={proprio}", "--range", *map(str, proprio_range)] if proprio else []
    options = [f"--{name}={value}" for name, value in named.items()]
    jobs.run_job("make_classifier", [*map(str, datasets), *options, *test])


def finetune(
    datasets: Annotated[list[Path], typer.Argument(help="Folders of LeRobotDatasets of format v3.0.")],
    out: Annotated[Path, typer.Option(help="Model directory to make.")],
    model_dir: ModelDir = "",
    robot: RobotFile = "sim_panda",
    steps: Annotated[int, typer.Option(min=1, help="Of the optimiser.")] = 600,
    average: Annotated[int, typer.Option(min=1, max=20, help="Fine-tunings whose weights are averaged.")] = 1,
    mapping: Mapping = None,
) -> None:
    """Fine-tune the policy's action expert on successes and corrections; eyes and words stay as they are."""
    jobs.finetune(datasets, out, model_dir, robot, steps, average, mapping)


def value(
    recording: Annotated[Path, typer.Argument(help="MCAP recording, or folder of a LeRobotDataset of format v3.0.")],
    value: Annotated[str, typer.Option(help="Model directory that holds a value function.")],
    out: Annotated[Path, typer.Option(help="PNG or MP4.")] = Path("out/value.png"),
    episode: Annotated[int, typer.Option(min=0, help="Number of the episode in a dataset.")] = 0,
    robot: RobotFile = "sim_panda",
    stride: Annotated[int, typer.Option(min=1, max=100, help="Frames between two values.")] = 1,
    mapping: Mapping = None,
) -> None:
    """Draw the value of an episode under its frames: how near to success the value function thinks it is."""
    jobs.draw_value(recording, value, out, episode, robot, stride, mapping)
