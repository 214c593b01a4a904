# SPDX-License-Identifier: Apache-2.0
"""Trains a VLA on recordings by a method of post-training: `whetstone sft`, `distill`, `finetune`, rounds of `train`.

`ros2 run whetstone_cli post_train METHOD DATASET... --base MODEL --out MODEL`; on the CPU, or the GPU that is there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from rl_learner.core.post_training import DatasetRobot, DatasetTrainer
from rl_methods.config import read_training_settings
from rl_methods.registry import training_methods, training_of
from vla_policy.core.training.settings import NORMALISATIONS, DataConfig, SftConfig
from whetstone_cli.cli.errors import UserError
from whetstone_cli.jobs.numbers import count
from whetstone_cli.jobs.robots import dataset_of, watcher_of
from whetstone_cli.jobs.training_work import WorkFolder, export_graphs, shown
from whetstone_common.core.outputs import check_new_folder
from whetstone_common.nodes.resources import find

if TYPE_CHECKING:
    from accelerate import Accelerator

_console = Console()
SHIPPED = "package://vla_policy/models/pocket"


def parser_of() -> argparse.ArgumentParser:
    """Command line."""
    config, data = SftConfig(), DataConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=training_methods(), help="which samples are imitated")
    parser.add_argument("datasets", type=Path, nargs="+", help="LeRobotDatasets v3.0, or folders of MCAP recordings")
    parser.add_argument("--base", default=SHIPPED, help="model directory to begin with")
    parser.add_argument("--out", type=Path, required=True, help="model directory to make")
    parser.add_argument("--robot", default="sim_panda", help="robot file")
    parser.add_argument("--mapping", type=Path, help="file that says how the datasets record the robot's joints")
    parser.add_argument("--method-file", type=Path, help="settings of the method, instead of the shipped")
    parser.add_argument("--steps", type=count, default=config.steps, help="of the optimiser")
    parser.add_argument("--batch", type=count, default=config.batch, help="windows per step")
    parser.add_argument("--lr", type=float, default=config.learning_rate, help="peak learning rate")
    parser.add_argument("--ema", type=float, default=config.ema_decay, help="decay of the averaged weights, 0 for none")
    parser.add_argument("--average", type=count, default=config.average, help="fine-tunings whose mean is written")
    parser.add_argument("--whole", action="store_true", help="train eyes and words too, not the action expert alone")
    parser.add_argument("--lora", type=int, default=config.lora, help="rank of low-rank adapters, 0 for none")
    parser.add_argument("--held-out", type=float, default=0.1, help="share of the episodes put aside")
    parser.add_argument("--normalise", choices=list(NORMALISATIONS), default=data.normalise, help="whose statistics")
    parser.add_argument("--clip", type=float, default=data.clip, help="labels are cut to this, normalised")
    parser.add_argument("--save-every", type=count, default=config.save_every, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=config.seed)
    parser.add_argument("--resume", action="store_true", help="go on with a training of --out that was stopped")
    parser.add_argument("--threads", type=count, default=os.cpu_count() or 1)
    return parser


def config_of(args: argparse.Namespace) -> SftConfig:
    """Of the optimiser; raises ValueError with the name of what cannot work."""
    return SftConfig(
        steps=args.steps,
        batch=args.batch,
        learning_rate=args.lr,
        ema_decay=args.ema,
        scope="whole" if args.whole else "expert",
        lora=args.lora,
        average=args.average,
        save_every=args.save_every,
        seed=args.seed,
    )


def train(args: argparse.Namespace) -> None:
    """The whole job; several processes that `spread` has started do it together.

    Raises:
        ValueError: Something does not fit; the text says what.
        OSError: The disk is full.
    """
    accelerator = accelerator_of()
    check_new_folder(args.out)
    work = WorkFolder.beside(args.out, resume=args.resume)
    config = config_of(args)
    method = training_of(args.method)(read_training_settings(args.method, args.method_file))
    accelerator.wait_for_everyone()  # nothing is made before all have looked
    robot = DatasetRobot(
        lambda path: dataset_of(path, args.robot, args.mapping),
        lambda spec: watcher_of(args.robot, spec, find(args.base)),
    )
    data = DataConfig(args.held_out, args.normalise, args.clip, args.seed)
    work.path.mkdir(parents=True, exist_ok=True)
    try:
        with accelerator.main_process_first():
            datasets = [work.dataset(number, path, args.robot) for number, path in enumerate(args.datasets)]
        quiet = not accelerator.is_main_process
        with shown(config.steps * config.average, work, quiet=quiet) as report:
            trainer = DatasetTrainer(robot, data, config, report, accelerator, work.path)
            say = _say if accelerator.is_main_process else _keep_quiet
            method.train(trainer, find(args.base), datasets, args.out, say)
    except (ValueError, UserError):
        if not any(work.path.glob("seed-*/step-*")):
            shutil.rmtree(work.path, ignore_errors=True)  # nothing was learnt that could be gone on with
        raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        work.clear()
        export_graphs(args.out, _say)
        _say(f"wrote {args.out}; count what it can do: whetstone eval --model-dir {args.out}")
    accelerator.end_training()


def _say(line: str) -> None:
    _console.print(line, highlight=False)


def _keep_quiet(_line: str) -> None:
    """Another process says it."""


def accelerator_of() -> Accelerator:
    """What spreads the work: the GPU, or else the CPU, of each process that `torch.distributed.run` has started.

    Raises:
        ValueError: The library is not installed.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise ValueError("accelerate is not installed: run make setup") from error
    # on the CPU the library joins the other processes only when it is told that the CPU is meant
    is_cpu_of_many = _processes() > 1 and not torch.accelerator.is_available()
    # a model may have weights that imitation does not use
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=is_cpu_of_many, kwargs_handlers=[unused])


def _processes() -> int:
    """How many train together; the launcher says it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def run(words: Sequence[str] | None = None, **changes: object) -> int:
    """Parse, train, say what was made; 2 when something does not fit."""
    args = parser_of().parse_args(words)
    for name, value in changes.items():
        setattr(args, name, value)
    torch.set_num_threads(max(1, args.threads // _processes()))
    try:
        train(args)
    except (ValueError, RuntimeError, OSError, UserError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def main() -> int:
    """Entry point."""
    return run()


if __name__ == "__main__":
    sys.exit(main())
