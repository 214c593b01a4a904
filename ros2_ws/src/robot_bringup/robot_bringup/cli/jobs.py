# SPDX-License-Identifier: Apache-2.0
"""Batch jobs of rl_learner as commands: `whetstone prior`, `whetstone finetune`."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from robot_bringup.cli.errors import UserError
from robot_bringup.cli.method_file import read_method_file
from robot_bringup.cli.stack import own_environment
from robot_bringup.launch_runner.processes import die_with_parent


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
    method: str = "expo"
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
    """Runs a batch job of rl_learner, with its own output.

    Raises:
        UserError: The package is not installed, or the job could not do it and has said why.
    """
    try:
        job = Path(get_package_prefix("rl_learner")) / "lib" / "rl_learner" / name
    except PackageNotFoundError as error:
        raise UserError("the package rl_learner is not installed\n\nBuild the workspace first: make setup") from error
    done = subprocess.run([str(job), *arguments], env=own_environment(None), check=False, preexec_fn=die_with_parent())
    if done.returncode != 0:
        raise UserError("nothing was made: the reason stands above")


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
