# SPDX-License-Identifier: Apache-2.0
"""`whetstone sft`, `distill` and `recap`: the VLA itself learns, from recordings or from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vla_policy.core.training.settings import NORMALISATIONS, DataConfig, SftConfig
from whetstone_cli.cli import jobs, outputs, tuning
from whetstone_cli.cli.arguments import Mapping, finite
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.run_settings import read_settings

_CONFIG, _DATA = SftConfig(), DataConfig()


Out = Annotated[Path, typer.Option(help="Model directory to make.")]
Base = Annotated[str, typer.Option(help="Model directory to begin with; empty for the shipped one.")]
Steps = Annotated[int, typer.Option(min=1, max=10_000_000, help="Of the optimiser.")]
Batch = Annotated[int, typer.Option(min=1, max=100_000, help="Windows per step.")]
Lr = Annotated[float, typer.Option(min=0.0, max=1.0, callback=finite, help="Peak learning rate.")]
Ema = Annotated[
    float, typer.Option(min=0.0, max=0.999999, callback=finite, help="Decay of the averaged weights, 0 for none.")
]
HeldOut = Annotated[
    float, typer.Option(min=0.0, max=0.9, callback=finite, help="Share of the episodes put aside for a loss.")
]
Lora = Annotated[int, typer.Option(min=0, max=1024, help="Rank of low-rank adapters, 0 for the weights themselves.")]
Whole = Annotated[bool, typer.Option("--whole", help="Train eyes and words too: small policies must learn anew then.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a training of --out that was stopped.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of everything.")]
Robot = Annotated[str, typer.Option(help="Robot file.")]
MethodFile = Annotated[Path | None, typer.Option(help="Settings of the method, instead of the shipped.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(sft)
    app.command()(distill)
    app.command()(recap)


def sft(
    datasets: Annotated[list[Path], typer.Argument(help="LeRobotDatasets v3.0, or folders of MCAP recordings.")],
    out: Out,
    base: Base = "",
    steps: Steps = _CONFIG.steps,
    batch: Batch = _CONFIG.batch,
    lr: Lr = _CONFIG.learning_rate,
    ema: Ema = _CONFIG.ema_decay,
    held_out: HeldOut = 0.1,
    normalise: Annotated[str, typer.Option(help=f"Whose statistics: {', '.join(NORMALISATIONS)}.")] = "base",
    clip: Annotated[
        float, typer.Option(min=1.0, callback=finite, help="Labels are cut to this, normalised.")
    ] = _DATA.clip,
    whole: Whole = False,
    lora: Lora = 0,
    resume: Resume = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="That train together, one per GPU.")] = 1,
    seed: Seed = 0,
    robot: Robot = "sim_panda",
    mapping: Mapping = None,
    method_file: MethodFile = None,
) -> None:
    """Supervised fine-tuning: the policy imitates demonstrations by flow matching."""
    _check(out, normalise)
    jobs.post_train(
        "sft", datasets, out, base=base, steps=steps, batch=batch, lr=lr, ema=ema, held_out=held_out,
        normalise=normalise, clip=clip, whole=whole, lora=lora, resume=resume, seed=seed, robot=robot,
        mapping=mapping, method_file=method_file, processes=processes,
    )  # fmt: skip


def distill(
    run: Annotated[str, typer.Argument(help="Name of a run that was recorded, or a folder of recordings.")],
    out: Out,
    base: Annotated[str, typer.Option(help="Model to begin with; empty for the one that the run was begun with.")] = "",
    steps: Steps = 600,
    average: Annotated[int, typer.Option(min=1, max=20, help="Fine-tunings whose weights are averaged.")] = 3,
    lora: Lora = 0,
    seed: Seed = 0,
    robot: Robot = "sim_panda",
    method_file: MethodFile = None,
    runs: Annotated[Path, typer.Option(help="Folder that holds one folder per training run.")] = Path("runs"),
) -> None:
    """The successes of a run go back into the policy, which then needs no small policy beside it."""
    outputs.check_new_folder(out)
    folder = runs / run
    is_run = (folder / "run.json").is_file()
    if not is_run and not any(Path(run).glob("*.mcap")):
        read_settings(folder)  # says which runs there are
    recordings = tuning.own_recordings(folder) if is_run else sorted(Path(run).glob("*.mcap"))
    if not recordings:
        raise UserError(
            f"the run {run!r} kept no images\n\nTrain it with --record, --distil or --finetune-at: whetstone train"
        )
    begun_with = base or (read_settings(folder).model_dir if is_run else "")
    tuning.imitate(
        recordings, out, "distill", base=begun_with, robot=robot, steps=steps, average=average, lora=lora or None,
        ema=0.0, held_out=0.0, seed=seed, method_file=method_file,
    )  # fmt: skip


def recap(
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders of recorded runs, of MCAP recordings, or LeRobotDatasets v3.0."),
    ],
    out: Out,
    base: Annotated[str, typer.Option(help="Pre-trained model, of every iteration; empty for the shipped one.")] = "",
    steps: Steps = _CONFIG.steps,
    batch: Batch = _CONFIG.batch,
    lr: Lr = _CONFIG.learning_rate,
    held_out: HeldOut = 0.1,
    resume: Resume = False,
    seed: Seed = 0,
    robot: Robot = "sim_panda",
    mapping: Mapping = None,
    method_file: MethodFile = None,
) -> None:
    """One iteration of RECAP on all data so far: a value function, a label per frame, a policy asked for the good."""
    outputs.check_new_folder(out)
    jobs.post_train(
        "recap", [_recordings(each) for each in data], out, base=base, steps=steps, batch=batch, lr=lr,
        held_out=held_out, resume=resume, seed=seed, robot=robot, mapping=mapping, method_file=method_file,
    )  # fmt: skip


def _recordings(folder: Path) -> Path:
    """Recordings of a run's folder, any other folder as it is."""
    if not (folder / "run.json").is_file():
        return folder
    if not any((folder / "mcap").glob("*.mcap")):
        raise UserError(f"the run {folder} kept no images\n\nTrain it with --record: whetstone train")
    return folder / "mcap"


def _check(out: Path, normalise: str) -> None:
    """Refuse what cannot work before a job is started."""
    outputs.check_new_folder(out)
    if normalise not in NORMALISATIONS:
        raise UserError(f"--normalise {normalise} is not allowed\n\nChoose from: {', '.join(NORMALISATIONS)}")
