# SPDX-License-Identifier: Apache-2.0
"""Draws the value of a recorded episode under its frames: `whetstone value RECORDING --value MODEL`."""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

import numpy as np

from experience.core.dataset import DatasetEpisode
from experience.core.lerobot_export.frames import episode_of
from rl_learner.core.value_files import load_value, plain_backend, values_along
from vla_policy.core.protocol import PolicySpec
from whetstone_cli.cli.exporting import topics_of
from whetstone_cli.core.value_curve import ValueCurve, write_film, write_picture
from whetstone_cli.jobs.numbers import count
from whetstone_cli.jobs.robots import dataset_of, watcher_of
from whetstone_common.core.enums import Actor
from whetstone_common.core.outputs import check_file
from whetstone_common.nodes.resources import find
from whetstone_common.nodes.robot_files import find_robot

_DRAWN = {".png": write_picture, ".mp4": write_film}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, help="MCAP recording, or folder of a LeRobotDataset v3.0")
    parser.add_argument("--value", required=True, help="model directory that `whetstone recap` made")
    parser.add_argument("--episode", type=int, default=0, help="number of the episode in a dataset")
    parser.add_argument("--out", type=Path, default=Path("out/value.png"), help="PNG or MP4")
    parser.add_argument("--robot", default="sim_panda", help="robot file")
    parser.add_argument("--mapping", type=Path, help="file that says how a dataset records the robot's joints")
    parser.add_argument("--stride", type=count, default=1, help="frames between two values")
    return parser.parse_args(argv)


def recorded_of(args: argparse.Namespace, spec: PolicySpec) -> DatasetEpisode:
    """The episode.

    Raises:
        ValueError: There is none, or it cannot be used.
    """
    if args.recording.suffix == ".mcap":
        return _of_mcap(args.recording, args.robot)
    dataset = dataset_of(args.recording, args.robot, args.mapping)
    if not 0 <= args.episode < len(dataset):
        raise ValueError(f"{args.recording}: episode is {args.episode}, allowed: 0 to {len(dataset) - 1}")
    watcher_of(args.robot, spec, find(args.value)).check(dataset.fps, dataset.cameras)
    return next(islice(dataset, args.episode, None))


def _of_mcap(path: Path, robot_file: str) -> DatasetEpisode:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such recording")
    robot = find_robot(robot_file)
    episode = episode_of(path, robot.contract_joints, topics_of(robot), keep_aborted=True)
    frames = episode.frames
    return DatasetEpisode(
        instruction=episode.instruction,
        success=episode.success,
        states=np.stack([frame.state for frame in frames]).astype(np.float64),
        actions=np.stack([frame.action for frame in frames]).astype(np.float64),
        targets=np.stack([frame.tcp_target[:7] for frame in frames]).astype(np.float64),
        actors=np.array([frame.actor for frame in frames], dtype=np.uint8),
        images={name: np.stack([frame.images[name] for frame in frames]) for name in frames[0].images},
    )


def curve_of(args: argparse.Namespace) -> ValueCurve:
    """Everything that is drawn.

    Raises:
        ValueError: Recording or model cannot be used.
    """
    directory = find(args.value)
    model, backend = load_value(directory), plain_backend(directory)
    recorded = recorded_of(args, backend.spec)
    watcher = watcher_of(args.robot, backend.spec, directory)
    watcher.check_numbers(recorded, recorded.index)
    frames, values = values_along(model.network, backend, watcher, recorded, args.stride)
    return ValueCurve(
        frames=frames,
        values=values,
        returns=model.returns(recorded),
        human=recorded.actors == Actor.HUMAN,
        images=recorded.images,
        caption=f"{recorded.instruction}: {'success' if recorded.success else 'failure'}",
        success=recorded.success,
        fps=1.0 / backend.spec.dt_s,
    )


def main(argv: list[str] | None = None) -> int:
    """The whole job; 2 when something does not fit."""
    args = parse(argv)
    try:
        write = _DRAWN.get(args.out.suffix.lower())
        if write is None:
            raise ValueError(f"{args.out}: the ending is {args.out.suffix!r}, allowed: .png and .mp4")
        check_file(args.out)
        curve = curve_of(args)
        write(args.out, curve)
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{curve.caption}; value {curve.values[0]:.2f} at the start, {curve.values[-1]:.2f} at the end: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
