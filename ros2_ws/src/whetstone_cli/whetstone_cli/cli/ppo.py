# SPDX-License-Identifier: Apache-2.0
"""`whetstone ppo`: the VLA itself learns in simulators that run beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whetstone_cli.cli import jobs, outputs
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.run_folder import RunFolder
from whetstone_cli.core.training import LAST_RUN_SEED
from whetstone_common.core import ray_cluster


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ppo)


def ppo(
    out: Annotated[Path, typer.Option(help="Model directory to make.")],
    task: Annotated[str, typer.Option(help="Task file, by name.")] = "pick_place",
    model_dir: Annotated[str, typer.Option(help="Model directory to begin with; empty for the shipped one.")] = "",
    envs: Annotated[int, typer.Option(min=1, max=1024, help="Simulators, each in a process of its own.")] = 4,
    ray: Annotated[str, typer.Option(help=f"{ray_cluster.HELP}; empty for processes of this machine.")] = "",
    iterations: Annotated[int, typer.Option(min=1, max=100_000, help="Of the whole run.")] = 100,
    episodes: Annotated[int, typer.Option(min=0, max=100_000, help="Per iteration, 0 for the settings'.")] = 0,
    budget_steps: Annotated[int, typer.Option(min=0, help="Control steps of the whole run, 0 for no bound.")] = 0,
    evaluate_every: Annotated[int, typer.Option(min=0, help="Iterations between evaluations, 0 for none.")] = 5,
    evaluation_episodes: Annotated[int, typer.Option(min=1, max=100_000, help="Episodes of an evaluation.")] = 50,
    seed: Annotated[int, typer.Option(min=0, max=LAST_RUN_SEED, help="Of scenes, noise and networks.")] = 0,
    run: Annotated[str, typer.Option(help="Name of the run; empty for one made of task and seed.")] = "",
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="Torch device of the model: cpu, cuda, cuda:1.")] = "cpu",
    robot: Annotated[str, typer.Option(help="Robot file.")] = "sim_panda",
    method_file: Annotated[Path | None, typer.Option(help="Settings of PPO, instead of the shipped.")] = None,
) -> None:
    """PPO on the policy's action expert, in simulation only. Run it again to go on."""
    outputs.check_new_folder(out)
    if ray:
        _check_ray(ray)
    folder = runs / (run or f"ppo_{task}_{seed}")
    named: dict[str, object] = {
        "task": task, "out": out, "folder": folder, "envs": envs, "iterations": iterations, "robot": robot,
        "budget-steps": budget_steps, "evaluate-every": evaluate_every, "evaluation-episodes": evaluation_episodes,
        "seed": seed, "device": device,
    }  # fmt: skip
    named |= {"model-dir": model_dir} if model_dir else {}
    named |= {"ray": ray} if ray else {}
    named |= {"episodes": episodes} if episodes else {}
    named |= {"method-file": method_file} if method_file is not None else {}
    with RunFolder(folder):
        jobs.run_job("ppo", [f"--{name}={value}" for name, value in named.items()])


def _check_ray(address: str) -> None:
    try:
        ray_cluster.check_address(address)
    except (ValueError, RuntimeError) as error:
        raise UserError(str(error)) from error
