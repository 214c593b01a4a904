# SPDX-License-Identifier: Apache-2.0
"""Batch jobs as commands: `whetstone prior`, `whetstone finetune`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rl_methods.registry import DEFAULT_ONLINE
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.method_file import read_method_file
from whetstone_cli.cli.stack import own_environment
from whetstone_common.core.child_process import die_with_parent


@dataclass(frozen=True)
class PriorOptions:
    """What to make of which dataset.

    Attributes:
        dataset: Folder of a LeRobotDataset v3.0.
        out: Folder to make.
        method: What will be learnt from it.
        backend: Kind of model.
        model_dir: Directory of the model, empty for the shipped one.
        robot: Robot file.
        candidates: Chunks per look.
        stride: Frames between two looks.
        mapping: File that says how the dataset records the robot's joints, None where it does as the robot.
    """

    dataset: Path
    out: Path
    method: str = DEFAULT_ONLINE
    backend: str = "onnx"
    model_dir: str = ""
    robot: str = "sim_panda"
    candidates: int = 8
    stride: int = 2
    mapping: Path | None = None

    @property
    def arguments(self) -> list[str]:
        """Of the batch job."""
        named = {
            "method-file": read_method_file(self.method).path, "backend": self.backend, "robot": self.robot,
            "candidates": self.candidates, "stride": self.stride,
        } | ({"model-dir": self.model_dir} if self.model_dir else {})  # fmt: skip
        named |= {} if self.mapping is None else {"mapping": self.mapping}
        return [str(self.dataset), str(self.out), *(f"--{name}={value}" for name, value in named.items())]


def make_prior(options: PriorOptions) -> None:
    """The whole command; raises as `run_job`."""
    run_job("make_prior", options.arguments)


def run_job(name: str, arguments: list[str]) -> None:
    """Runs a batch job, with its own output.

    Raises:
        UserError: The job could not do it and has said why.
    """
    command = [sys.executable, "-m", f"whetstone_cli.jobs.{name}", *arguments]
    done = subprocess.run(command, env=own_environment(None), check=False, preexec_fn=die_with_parent())
    if done.returncode != 0:
        raise UserError("nothing was made: the reason stands above")


def post_train(method: str, datasets: Sequence[Path], out: Path, *, processes: int = 1, **named: object) -> None:
    """Makes a model directory by a method of post-training; raises as `run_job`.

    Args:
        method: Name in the registry.
        datasets: LeRobotDatasets, or folders of recordings.
        out: Model directory to make.
        processes: How many train together.
        named: Further options of the job; what is None or False is left out, True is a switch.
    """
    arguments = [method, *map(str, datasets), f"--out={out}", *_options(named)]
    if processes == 1:
        run_job("post_train", arguments)
    else:
        run_job("spread", [str(processes), "post_train", *arguments])


def train_features(datasets: Sequence[Path], out: Path, **named: object) -> None:
    """Makes a model directory whose RL token has learnt from datasets; raises as `run_job`, options as `post_train`."""
    run_job("features", [*map(str, datasets), f"--out={out}", *_options(named)])


def _options(named: Mapping[str, object]) -> list[str]:
    # by identity: 0 is a value, and equals False
    given = {name.replace("_", "-"): v for name, v in named.items() if v is not None and v is not False and v != ""}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]


def finetune(
    datasets: list[Path],
    out: Path,
    model_dir: str,
    robot: str,
    steps: int | None = None,
    average: int = 1,
    mapping: Path | None = None,
) -> None:
    """Makes a model directory whose action expert has learnt from datasets; raises as `run_job`."""
    named: dict[str, object] = {"out": out, "robot": robot, "average": average}
    named |= {"model-dir": model_dir} if model_dir else {}
    named |= {} if steps is None else {"steps": steps}
    named |= {} if mapping is None else {"mapping": mapping}
    run_job("finetune", [*map(str, datasets), *(f"--{name}={value}" for name, value in named.items())])


def draw_value(
    recording: Path, model_dir: str, out: Path, episode: int, robot: str, stride: int, mapping: Path | None
) -> None:
    """Draws the value of an episode; raises as `run_job`."""
    named: dict[str, object] = {"value": model_dir, "out": out, "episode": episode, "robot": robot, "stride": stride}
    named |= {} if mapping is None else {"mapping": mapping}
    run_job("value", [str(recording), *(f"--{name}={value}" for name, value in named.items())])
