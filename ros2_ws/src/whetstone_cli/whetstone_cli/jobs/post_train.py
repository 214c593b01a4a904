# SPDX-License-Identifier: Apache-2.0
"""Trains a VLA on recordings by a method of post-training: `whetstone sft`, `distill`, `finetune`, rounds of `train`.

`ros2 run whetstone_cli post_train METHOD DATASET... --base MODEL --out MODEL`; on the CPU, or the GPU that is there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rl_learner.core.post_training import DatasetTrainer
from rl_methods.config import read_training_settings
from rl_methods.registry import training_methods, training_of
from vla_policy.core.training.settings import NORMALISATIONS, DataConfig, SftConfig
from whetstone_cli.jobs.numbers import count
from whetstone_cli.jobs.training_arguments import add_training_arguments, exit_code, recordings_robot
from whetstone_cli.jobs.training_work import WorkFolder, export_graphs, say, shown
from whetstone_common.core.outputs import check_new_folder
from whetstone_common.nodes.resources import find

if TYPE_CHECKING:
    from accelerate import Accelerator


def parser_of() -> argparse.ArgumentParser:
    """Command line."""
    config, data = SftConfig(), DataConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=training_methods(), help="which samples are imitated")
    add_training_arguments(parser, config, "windows")
    parser.add_argument("--method-file", type=Path, help="settings of the method, instead of the shipped")
    parser.add_argument("--ema", type=float, default=config.ema_decay, help="decay of the averaged weights, 0 for none")
    parser.add_argument("--average", type=count, default=config.average, help="fine-tunings whose mean is written")
    parser.add_argument("--whole", action="store_true", help="train eyes and words too, not the action expert alone")
    parser.add_argument("--lora", type=int, default=config.lora, help="rank of low-rank adapters, 0 for none")
    parser.add_argument("--normalise", choices=list(NORMALISATIONS), default=data.normalise, help="whose statistics")
    parser.add_argument("--clip", type=float, default=data.clip, help="labels are cut to this, normalised")
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
    data = DataConfig(args.held_out, args.normalise, args.clip, args.seed)
    with work.begun():
        with accelerator.main_process_first():
            datasets = [work.dataset(number, path, args.robot) for number, path in enumerate(args.datasets)]
        quiet = not accelerator.is_main_process
        with shown(config.steps * config.average, work, quiet=quiet) as report:
            trainer = DatasetTrainer(recordings_robot(args), data, config, report, accelerator, work.path)
            tell = say if accelerator.is_main_process else _keep_quiet
            method.train(trainer, find(args.base), datasets, args.out, tell)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        work.clear()
        export_graphs(args.out)
        say(f"wrote {args.out}; count what it can do: whetstone eval --model-dir {args.out}")
    accelerator.end_training()


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
    return exit_code(train, args)


def main() -> int:
    """Entry point."""
    return run()


if __name__ == "__main__":
    sys.exit(main())
