# SPDX-License-Identifier: Apache-2.0
"""`whetstone train`: a training run through the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rl_methods.registry import DEFAULT_ONLINE, trainable_methods
from whetstone_cli.cli import run_settings
from whetstone_cli.cli import train as train_command
from whetstone_cli.cli.arguments import Device, Distil, FinetuneAt, JsonFile, ModelDir, Prior, Runs, Task, finite
from whetstone_cli.cli.evaluation_rounds import plan_of
from whetstone_cli.cli.method_file import check_method_file, method_path
from whetstone_cli.cli.options import BackendName, Namespace, OperatorName, Pace, task_name_of
from whetstone_cli.core.training import LAST_RUN_SEED, Budget
from whetstone_common.core.run_session import EVALUATE_EPISODES, EVALUATE_EVERY_MIN


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    task: Task = "pick_place",
    method: Annotated[
        str, typer.Option(autocompletion=trainable_methods, help="Method that learns; see `whetstone methods`.")
    ] = DEFAULT_ONLINE,
    minutes: Annotated[
        float, typer.Option(min=0.01, callback=finite, help="Robot time of the whole run [min].")
    ] = 19.0,
    max_steps: Annotated[
        int, typer.Option(min=0, max=100_000_000, help="Control steps of the whole run, 0 for no bound.")
    ] = 11_000,
    seed: Annotated[int, typer.Option(min=0, max=LAST_RUN_SEED, help="Of scenes, exploration and networks.")] = 0,
    run: Annotated[str, typer.Option(help="Name of the run; empty for one made of task, method and seed.")] = "",
    operator: Annotated[OperatorName, typer.Option(help="Who takes over.")] = OperatorName.SCRIPTED,
    pace: Annotated[Pace, typer.Option(help="How time passes.")] = Pace.LOCKSTEP,
    backend: Annotated[BackendName, typer.Option(help="Kind of model.")] = BackendName.ONNX,
    model_dir: ModelDir = "",
    n_candidates: Annotated[int, typer.Option(min=1, max=64, help="Chunks per request.")] = run_settings.CANDIDATES,
    method_file: Annotated[
        Path | None,
        typer.Option(
            help="Settings of the method, instead of the shipped: a file, or the name of others that are shipped."
        ),
    ] = None,
    prior: Prior = None,
    finetune_at: FinetuneAt = 0.0,
    distil: Distil = False,
    record: Annotated[bool, typer.Option("--record", help="Keep every episode with its images.")] = False,
    evaluate_every_min: Annotated[
        float,
        typer.Option(
            min=0.0, callback=finite, help="Robot minutes of training between two rounds of evaluation, 0 for none."
        ),
    ] = EVALUATE_EVERY_MIN,
    evaluate_episodes: Annotated[
        int, typer.Option(min=1, max=1000, help="Episodes of a round: no help, no exploration, not learnt from.")
    ] = EVALUATE_EPISODES,
    device: Device = "cpu",
    runs: Runs = Path("runs"),
    namespace: Namespace = "",
    json: JsonFile = None,
) -> None:
    """Sharpen the policy: episodes until the robot time is used up. Run it again to go on."""
    own_file = None if method_file is None else method_path(method, method_file)
    if own_file is not None:
        check_method_file(method, own_file)
    settings = run_settings.RunSettings(
        task=task,
        method=method,
        seed=seed,
        operator=operator.value,
        pace=pace.value,
        backend=backend.value,
        model_dir=model_dir,
        n_candidates=n_candidates,
        method_file=str(own_file or ""),
        prior=run_settings.prior_of(prior),
        finetune_at=finetune_at,
        distil=distil,
    )
    name = run or f"{task_name_of(task)}_{method}_{seed}"
    options = run_settings.TrainOptions(
        name, runs, settings, Budget(minutes, max_steps), record=record, namespace=namespace,
        rounds=plan_of(evaluate_every_min, evaluate_episodes), device=device,
    )  # fmt: skip
    train_command.run(options, json)
