# SPDX-License-Identifier: Apache-2.0
"""Trains the RL token of a VLA on recordings: `whetstone features train`; on the GPU where there is one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch

from rl_learner.core.token_training import TokenTrainer
from vla_policy.core.token_files import describe_features
from vla_policy.core.training.settings import FrameConfig, TokenConfig
from whetstone_cli.jobs.numbers import count
from whetstone_cli.jobs.training_arguments import add_training_arguments, exit_code, recordings_robot
from whetstone_cli.jobs.training_work import WorkFolder, export_graphs, say, shown
from whetstone_common.core.outputs import check_new_folder
from whetstone_common.nodes.resources import find
from whetstone_common.nodes.robot_files import find_robot


def parser_of() -> argparse.ArgumentParser:
    """Command line."""
    config, frames = TokenConfig(), FrameConfig()
    parser = argparse.ArgumentParser(description=__doc__)
    add_training_arguments(parser, config, "frames")
    parser.add_argument("--dim", type=count, default=64, help="numbers of the token")
    parser.add_argument("--stride", type=count, default=frames.stride, help="frames between two that are looked at")
    parser.add_argument("--disk-gb", type=float, default=frames.disk_gb, help="what embeddings may take on disk")
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
    base, robot = find(args.base), recordings_robot(args)
    joint_names = tuple(find_robot(args.robot).contract_joints)
    with work.begun():
        datasets = [work.dataset(number, path, args.robot) for number, path in enumerate(args.datasets)]
        with shown(config.steps, work) as report:
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            trainer = TokenTrainer(robot, joint_names, frames, config, args.dim, report, work.path, device)
            trainer.fit(base, datasets, args.out, say)
    work.clear()
    export_graphs(args.out)
    say(f"wrote {args.out}; features: {describe_features(args.out)}")
    say("small policies that were trained on other features do not fit it: train them anew")


def run(words: Sequence[str] | None = None) -> int:
    """Parse, train, say what was made; 2 when something does not fit."""
    args = parser_of().parse_args(words)
    torch.set_num_threads(args.threads)
    return exit_code(train, args)


def main() -> int:
    """Entry point."""
    return run()


if __name__ == "__main__":
    sys.exit(main())
