# SPDX-License-Identifier: Apache-2.0
"""`whetstone demo`: every task, and what learning makes of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rl_methods.registry import DEFAULT_ONLINE, trainable_methods
from whetstone_cli.cli import demo as demo_command
from whetstone_cli.cli import run_settings
from whetstone_cli.cli.arguments import Episodes, FinetuneAt, JsonFile, Prior, Seed, finite
from whetstone_cli.cli.demo_training import DemoTraining
from whetstone_cli.cli.options import BackendName, task_names
from whetstone_cli.core.training import Budget


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    episodes: Episodes = 3,
    control_episodes: Annotated[int, typer.Option(min=0, max=100_000, help="Control episodes per task.")] = 1,
    seed: Seed = 1000,
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas; empty for all.")] = "",
    backend: Annotated[BackendName, typer.Option(help="Kind of model.")] = BackendName.ONNX,
    out: Annotated[Path, typer.Option(help="Folder for demo.json, films, logs and the run.")] = Path("out"),
    budget_s: Annotated[
        float,
        typer.Option(
            min=1.0,
            callback=finite,
            help="Wall time of it all; a slow machine leaves out control runs and scenes [s].",
        ),
    ] = 900.0,
    train_minutes: Annotated[
        float,
        typer.Option(min=0.0, callback=finite, help="Then sharpen the policy for so much robot time, 0 for not [min]."),
    ] = 19.0,
    train_max_steps: Annotated[
        int, typer.Option(min=0, max=100_000_000, help="Or so many control steps, 0 for no bound.")
    ] = 5_000,
    train_task: Annotated[str, typer.Option(help="Task that is learnt.")] = "pick_place",
    train_method: Annotated[
        str, typer.Option(autocompletion=trainable_methods, help="Method that learns; see `whetstone methods`.")
    ] = DEFAULT_ONLINE,
    train_prior: Prior = None,
    train_finetune_at: FinetuneAt = 0.9,
    scenes: Annotated[int, typer.Option(min=1, max=10000, help="Scenes for base and sharpened policy.")] = 100,
    json: JsonFile = None,
) -> None:
    """Show it all: the pocket VLA on every task, the same scenes with other words, and what learning makes of one."""
    names = tuple(filter(None, tasks.split(","))) or tuple(task_names())
    sharpening = None
    if train_minutes > 0.0:
        budget = Budget(train_minutes, train_max_steps)
        prior = run_settings.prior_of(train_prior)
        sharpening = DemoTraining(
            train_task, train_method, backend.value, budget, out / "runs", scenes, seed, prior, train_finetune_at
        )
    options = demo_command.DemoOptions(
        names, episodes, control_episodes, seed, backend.value, out, budget_s, sharpening
    )
    demo_command.run(options, json or out / "demo.json")
