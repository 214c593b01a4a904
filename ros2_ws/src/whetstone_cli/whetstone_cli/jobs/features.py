# SPDX-License-Identifier: Apache-2.0
"""Trains the RL token of a VLA on recordings: `whetstone features train`; on the GPU where there is one."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from rl_learner.core.post_training import DatasetRobot
from rl_learner.core.token_training import TokenTrainer
from vla_policy.core.token_files import describe_features
from vla_policy.core.training.settings import FrameConfig, TokenConfig
from whetstone_cli.cli.errors import UserError
from whetstone_cli.jobs.numbers import count
from whetstone_cli.jobs.post_train import SHIPPED
from whetstone_cli.jobs.robots import dataset_of, watcher_of
from whetstone_cli.jobs.training_work import WorkFolder, export_graphs, shown
from whetstone_common.core.outputs import check_new_folder
from whetstone_common.nodes.resources import find
from whetstone_common.nodes.robot_files import find_robot

_console = Console()


def parser_of() -> argparse.ArgumentParser:
    """Command line."""
    config, frames = TokenConfig(), FrameConfig()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", type=Path, nargs="+", help="LeRobotDatasets v3.0, or folders of MCAP recordings")
    parser.add_argument("--base", default=SHIPPED, help="model directory that gets the token")
    parser.add_argument("--out", type=Path, required=True, help="model directory to make")
    parser.add_argument("--dim", type=count, default=64, help="numbers of the token")
    parser.add_argument("--robot", default="sim_panda", help="robot file")
    parser.add_argument("--mapping", type=Path, help="file that says how the datasets record the robot's joints")
    parser.add_argument("--steps", type=count, default=config.steps, help="of the optimiser")
    parser.add_argument("--batch", type=count, default=config.batch, help="frames per step")
    parser.add_argument("--lr", type=float, default=config.learning_rate, help="peak learning rate")
    parser.add_argument("--stride", type=count, default=frames.stride, help="frames between two that are looked at")
    parser.add_argument("--held-out", type=float, default=frames.held_out, help="share of the episodes put aside")
    parser.add_argument("--disk-gb", type=float, default=frames.disk_gb, help="what embeddings may take on disk")
    parser.add_argument("--save-every", type=count, default=config.save_every, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=config.seed)
    parser.add_argument("--resume", action="store_true", help="go on with a training of --out that was stopped")
    parser.add_argument("--threads", type=count, default=os.cpu_count() or 1)
    return parser


def train(args: argparse.Namespace) -> None:
    """The whole job.

    Raises:
        ValueError: Something does not fit; the text says what.
        OSError: The disk is full.
    """
    check_new_folder(args.out)
    work = WorkFolder.beside(args.out, resume=args.resume)
    config = TokenConfig(args.steps, args.batch, args.lr, save_every=args.save_every, seed=args.seed)
    frames = FrameConfig(args.stride, args.held_out, args.disk_gb, args.seed)
    base = find(args.base)
    robot = DatasetRobot(
        lambda path: dataset_of(path, args.robot, args.mapping), lambda spec: watcher_of(args.robot, spec, base)
    )
    joint_names = tuple(find_robot(args.robot).contract_joints)
    work.path.mkdir(parents=True, exist_ok=True)
    try:
        datasets = [work.dataset(number, path, args.robot) for number, path in enumerate(args.datasets)]
        with shown(config.steps, work) as report:
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            trainer = TokenTrainer(robot, joint_names, frames, config, args.dim, report, work.path, device)
            trainer.fit(base, datasets, args.out, _say)
    except (ValueError, UserError):
        if not any(work.path.glob("seed-*/step-*")):
            shutil.rmtree(work.path, ignore_errors=True)  # nothing was learnt that could be gone on with
        raise
    work.clear()
    export_graphs(args.out, _say)
    _say(f"wrote {args.out}; features: {describe_features(args.out)}")
    _say("small policies that were trained on other features do not fit it: train them anew")


def _say(line: str) -> None:
    _console.print(line, highlight=False)


def run(words: Sequence[str] | None = None) -> int:
    """Parse, train, say what was made; 2 when something does not fit."""
    args = parser_of().parse_args(words)
    torch.set_num_threads(args.threads)
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
