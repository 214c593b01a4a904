# SPDX-License-Identifier: Apache-2.0
"""Trains a success detector on the marked frames of datasets: `whetstone classifier DATASET... --out FILE`.

The last frames of an episode that succeeded show success; the frames before them, but for a gap in which nobody can
tell, and all frames of an episode that failed do not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from experience.core.dataset import Dataset, DatasetEpisode
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from rl_learner.core.success_training import MarkedFrames, Rates, SuccessTraining, train_classifier
from rl_methods.common.success_classifier import SuccessClassifierConfig, save_classifier
from vla_policy.core.backends import BACKENDS, load_backend
from vla_policy.core.stacked_images import Images, stacked
from whetstone_cli.jobs.numbers import count
from whetstone_cli.jobs.robots import dataset_of, episodes_of, shown_to_policy, watcher_of
from whetstone_common.core.outputs import check_file, whole_file
from whetstone_common.core.pixels import squared
from whetstone_common.nodes.resources import find

_console = Console(soft_wrap=True)  # a line of a log stays one line


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path, nargs="+", help="folders of LeRobotDatasets of format v3.0")
    parser.add_argument("--out", type=Path, required=True, help="file to make (.safetensors)")
    parser.add_argument("--backend", default="onnx", choices=sorted(BACKENDS))
    parser.add_argument("--model-dir", default="package://vla_policy/models/pocket")
    parser.add_argument("--robot", default="sim_panda", help="robot file")
    parser.add_argument("--mapping", type=Path, help="file that says how the datasets record the robot's joints")
    parser.add_argument("--success-frames", type=count, default=5, help="last frames of a success that show it")
    parser.add_argument("--gap-frames", type=count, default=10, help="frames before those that are left out")
    parser.add_argument("--stride", type=count, default=2, help="frames between two that do not show success")
    parser.add_argument("--image-size", type=count, default=64, help="side that images are brought to (px)")
    parser.add_argument("--steps", type=count, default=400, help="of the optimiser")
    parser.add_argument("--threshold", type=float, default=0.85, help="that the held-out figures are measured at")
    parser.add_argument("--proprio", help="name of a proprioceptive number that must lie in a range, e.g. tcp_z_m")
    parser.add_argument("--range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="of it, physical units")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def marks(recorded: DatasetEpisode, success_frames: int, gap_frames: int, stride: int) -> dict[int, bool]:
    """Whether each frame that is used shows success, by frame."""
    end = len(recorded)
    if not recorded.success:
        return dict.fromkeys(range(0, end, stride), False)
    first = max(0, end - success_frames)
    before = range(0, max(0, first - gap_frames), stride)
    return dict.fromkeys(before, False) | dict.fromkeys(range(first, end), True)


def frames_of(args: argparse.Namespace, datasets: list[Dataset], watcher: EpisodePreprocessor) -> MarkedFrames:
    """Marked frames of all datasets, small.

    Raises:
        DatasetError: A dataset does not fit robot or policy.
    """
    images, success, episodes = list[Images](), list[bool](), list[int]()
    with Progress(console=_console) as bars:
        bar = bars.add_task("episodes", total=sum(map(len, datasets)))
        for number, (dataset, recorded) in enumerate(_episodes(datasets, watcher)):
            for frame, mark in marks(recorded, args.success_frames, args.gap_frames, args.stride).items():
                with shown_to_policy(dataset, recorded):
                    seen = watcher.observation(recorded, frame).images
                images.append(squared(stacked(seen, watcher.contract.cameras), args.image_size))
                success.append(mark)
                episodes.append(number)
            bars.advance(bar)
            del recorded  # before the next one is read
    return MarkedFrames(np.stack(images), np.array(success, np.bool_), np.array(episodes, np.int64))


def _episodes(datasets: list[Dataset], watcher: EpisodePreprocessor) -> Iterator[tuple[Dataset, DatasetEpisode]]:
    for dataset in datasets:
        for recorded in episodes_of(dataset, watcher):
            yield dataset, recorded


def config_of(args: argparse.Namespace, watcher: EpisodePreprocessor) -> SuccessClassifierConfig:
    """Sizes, and the test on proprioception.

    Raises:
        ValueError: There is no such number, or the range is not given with it.
    """
    contract = watcher.contract
    if (args.proprio is None) != (args.range is None):
        raise ValueError("--proprio and --range belong together: a number and the range that it must lie in")
    index, (low, high) = -1, args.range or (0.0, 1.0)
    if args.proprio is not None:
        if args.proprio not in contract.proprio_names:
            raise ValueError(f"--proprio {args.proprio}: choose from {', '.join(contract.proprio_names)}")
        index = contract.proprio_names.index(args.proprio)
    return SuccessClassifierConfig(
        len(contract.cameras), args.image_size, proprio_index=index, proprio_low=low, proprio_high=high
    )


def show(frames: MarkedFrames, rates: Rates, threshold: float, out: Path) -> None:
    """Print the figures that say how far it can be trusted."""
    good = int(frames.success.sum())
    _console.print(f"{good} frames that show success, {len(frames.success) - good} that do not: {out}")
    if rates.frames:
        _console.print(
            f"on {rates.frames} frames of episodes held out, threshold {threshold:g}: "
            f"{100 * rates.found:.1f} % of the successes found, {100 * rates.believed:.1f} % of the others believed"
        )
    else:
        _console.print("too few episodes to hold any out: nothing is known of how often it is right")


def main(argv: list[str] | None = None) -> int:
    """The whole job; 2 when something does not fit."""
    args = parse(argv)
    try:
        check_file(args.out)
        spec = load_backend(args.backend, str(find(args.model_dir))).spec
        watcher = watcher_of(args.robot, spec, find(args.model_dir))
        config = config_of(args, watcher)
        frames = frames_of(args, [dataset_of(path, args.robot, args.mapping) for path in args.datasets], watcher)
        frames.check()
        how = SuccessTraining(steps=args.steps, seed=args.seed)
        with Progress(console=_console) as bars:
            bar = bars.add_task("training", total=how.steps)
            classifier, rates = train_classifier(
                frames, config, how, args.threshold, lambda step, _loss: bars.update(bar, completed=step)
            )
        with whole_file(args.out) as unfinished:
            save_classifier(unfinished, classifier)
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    show(frames, rates, args.threshold, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
