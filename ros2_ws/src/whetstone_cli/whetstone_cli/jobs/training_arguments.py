# SPDX-License-Identifier: Apache-2.0
"""The command line that trainings of a VLA on datasets have in common, and what follows from it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rl_learner.core.post_training import DatasetRobot
from vla_policy.core.training.settings import SftConfig, TokenConfig
from whetstone_cli.cli.errors import UserError
from whetstone_cli.jobs.numbers import count, default_threads
from whetstone_cli.jobs.robots import dataset_of, watcher_of
from whetstone_common.nodes.resources import find

SHIPPED = "package://vla_policy/models/pocket"


def add_training_arguments(parser: argparse.ArgumentParser, defaults: SftConfig | TokenConfig, rows: str) -> None:
    """Arguments of every training on datasets.

    Args:
        parser: Gets them.
        defaults: Of the optimiser.
        rows: What a step is made of, in words.
    """
    parser.add_argument("datasets", type=Path, nargs="+", help="LeRobotDatasets v3.0, or folders of MCAP recordings")
    parser.add_argument("--base", default=SHIPPED, help="model directory to begin with")
    parser.add_argument("--out", type=Path, required=True, help="model directory to make")
    parser.add_argument("--robot", default="sim_panda", help="robot file")
    parser.add_argument("--mapping", type=Path, help="file that says how the datasets record the robot's joints")
    parser.add_argument("--steps", type=count, default=defaults.steps, help="of the optimiser")
    parser.add_argument("--batch", type=count, default=defaults.batch, help=f"{rows} per step")
    parser.add_argument("--lr", type=float, default=defaults.learning_rate, help="peak learning rate")
    parser.add_argument("--held-out", type=float, default=0.1, help="share of the episodes put aside")
    parser.add_argument("--save-every", type=count, default=defaults.save_every, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--resume", action="store_true", help="go on with a training of --out that was stopped")
    parser.add_argument("--threads", type=count, default=default_threads())


def recordings_robot(args: argparse.Namespace) -> DatasetRobot:
    """The robot of those arguments, whose images are seen as the base model is served."""
    return DatasetRobot(
        lambda path: dataset_of(path, args.robot, args.mapping),
        lambda spec: watcher_of(args.robot, spec, find(args.base)),
    )


def exit_code(train: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> int:
    """Train; 2 when something does not fit, which is said."""
    try:
        train(args)
    except (ValueError, RuntimeError, OSError, UserError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0
