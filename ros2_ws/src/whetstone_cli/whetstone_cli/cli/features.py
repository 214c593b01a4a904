# SPDX-License-Identifier: Apache-2.0
"""`whetstone features train`: what RL sees of a VLA, learnt from demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vla_policy.core.training.settings import FrameConfig, TokenConfig
from whetstone_cli.cli import jobs, outputs
from whetstone_cli.cli.arguments import Mapping
from whetstone_cli.cli.post_training import Base, HeldOut, Lr, Out, Resume, Robot, Seed, Steps

_CONFIG, _FRAMES = TokenConfig(), FrameConfig()
_commands = typer.Typer(help="What RL sees of a vision-language-action model.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(_commands, name="features")


@_commands.callback()
def features() -> None:
    """What RL sees of a vision-language-action model."""


@_commands.command()
def train(
    datasets: Annotated[list[Path], typer.Argument(help="LeRobotDatasets v3.0, or folders of MCAP recordings.")],
    out: Out,
    base: Base = "",
    dim: Annotated[int, typer.Option(min=1, max=4096, help="Numbers of the token.")] = 64,
    steps: Steps = _CONFIG.steps,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Frames per step.")] = _CONFIG.batch,
    lr: Lr = _CONFIG.learning_rate,
    stride: Annotated[
        int, typer.Option(min=1, max=1000, help="Frames between two that are looked at.")
    ] = _FRAMES.stride,
    held_out: HeldOut = _FRAMES.held_out,
    disk_gb: Annotated[
        float, typer.Option(min=0.001, help="Embeddings may take so much on disk; of more frames, fewer are looked at.")
    ] = _FRAMES.disk_gb,
    resume: Resume = False,
    seed: Seed = 0,
    robot: Robot = "sim_panda",
    mapping: Mapping = None,
) -> None:
    """Train the RL token: a small vector that says what the VLA sees. The VLA itself stays as it is."""
    outputs.check_new_folder(out)
    jobs.train_features(
        datasets, out, base=base, dim=dim, steps=steps, batch=batch, lr=lr, stride=stride, held_out=held_out,
        disk_gb=disk_gb, resume=resume, seed=seed, robot=robot, mapping=mapping,
    )  # fmt: skip
