# SPDX-License-Identifier: Apache-2.0
"""A LeRobotDataset of demonstrations becomes what a learner knows from the start.

`ros2 run whetstone_cli make_prior DATASET OUT`, or `whetstone prior DATASET OUT`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from experience.core.dataset import Dataset
from experience.core.episode import Rules
from experience.core.prior import write_prior
from experience.core.transition import Transition
from rl_learner.core.demonstrations import DemonstrationLabeler, LabelConfig
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from rl_methods.config import read_method_config
from rl_methods.registry import DEFAULT_ONLINE, settings_file
from vla_policy.core.backends import BACKENDS, load_backend
from vla_policy.core.protocol import Backend
from vla_policy.core.serving import weights_sha256
from whetstone_cli.jobs.numbers import count
from whetstone_cli.jobs.robots import dataset_of, episodes_of, shown_to_policy, watcher_of
from whetstone_common.core.outputs import check_new_folder
from whetstone_common.nodes.resources import find

_console = Console(soft_wrap=True)  # a line of a log stays one line


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder of a LeRobotDataset of format v3.0")
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--method-file", default=str(settings_file(DEFAULT_ONLINE)), help="of what will learn from it")
    parser.add_argument("--backend", default="onnx", choices=sorted(BACKENDS))
    parser.add_argument("--model-dir", default="package://vla_policy/models/pocket")
    parser.add_argument("--robot", default="sim_panda", help="robot file")
    parser.add_argument("--mapping", type=Path, help="file that says how the dataset records the robot's joints")
    parser.add_argument("--candidates", type=count, default=8, help="chunks per look")
    parser.add_argument("--stride", type=count, default=2, help="frames between two looks")
    return parser.parse_args(argv)


def onlooker_of(args: argparse.Namespace, watcher: EpisodePreprocessor, backend: Backend) -> DemonstrationLabeler:
    """The policy, and how it watches the arm in the dataset."""
    recipe = read_method_config(find(args.method_file))
    rules = Rules(window_steps=recipe.steps, lockstep=True)
    return DemonstrationLabeler(
        backend, watcher, rules, LabelConfig(args.candidates, args.stride, images=recipe.image_size > 0)
    )


def made(onlooker: DemonstrationLabeler, dataset: Dataset, watcher: EpisodePreprocessor) -> Iterator[list[Transition]]:
    """Transitions of each episode; raises DatasetError where one cannot be used."""
    for number, recorded in enumerate(episodes_of(dataset, watcher), 1):
        with shown_to_policy(dataset, recorded):
            transitions = onlooker.transitions(recorded, number)
        del recorded  # before the next one is read
        yield transitions


def shown(episodes: Iterable[list[Transition]], total: int, counts: list[int]) -> Iterator[list[Transition]]:
    """Passes episodes on, shows how far it is, and counts the transitions of each."""
    with Progress(console=_console) as bars:
        bar = bars.add_task("demonstrations", total=total)
        for transitions in episodes:
            counts.append(len(transitions))
            bars.update(bar, completed=len(counts))
            yield transitions


def main(argv: list[str] | None = None) -> int:
    """The whole job; 2 when something does not fit."""
    args, counts = parse(argv), list[int]()
    try:
        check_new_folder(args.out)
        dataset = dataset_of(args.dataset, args.robot, args.mapping)
        backend = load_backend(args.backend, str(find(args.model_dir)))
        watcher = watcher_of(args.robot, backend.spec, find(args.model_dir))
        episodes = made(onlooker_of(args, watcher, backend), dataset, watcher)
        weights = weights_sha256(find(args.model_dir))
        write_prior(args.out, shown(episodes, len(dataset), counts), weights, time.time_ns())
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    skipped = counts.count(0)
    _console.print(f"{sum(counts)} transitions of {len(counts) - skipped} episodes: {args.out}")
    if skipped:
        _console.print(f"left out, since a person did not drive them from end to end: {skipped} episodes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
