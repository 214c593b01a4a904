# SPDX-License-Identifier: Apache-2.0
"""`whetstone prior`: a dataset of demonstrations becomes what a learner knows from the start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_bringup.cli import screen
from robot_bringup.cli.errors import UserError
from robot_bringup.cli.method_file import read_method_file

if TYPE_CHECKING:
    from rl_learner.core.demonstrations import Onlooker
    from rl_learner.core.transition import Transition

_POCKET = "package://vla_policy/models/pocket"


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
    """

    dataset: Path
    out: Path
    method: str = "expo"
    backend: str = "onnx"
    model_dir: str = ""
    robot: str = "sim_panda"
    candidates: int = 8
    stride: int = 2


def run(options: PriorOptions) -> dict[str, Any]:
    """The whole command; returns its figures.

    Raises:
        UserError: Dataset, model, robot and method do not fit, or the folder is there already.
    """
    # Imported here: the other commands need no network.
    from rl_learner.core.dataset import Dataset
    from rl_learner.core.prior import write_prior
    from vla_policy.core.serving import weights_sha256

    if options.out.exists():
        raise UserError(f"{options.out} is there already\n\nChoose another folder, or remove it.")
    counts: list[int] = []
    try:
        dataset, onlooker = Dataset(options.dataset), _onlooker(options)
        onlooker.check(dataset.fps, dataset.cameras)
        episodes = (onlooker.transitions(each, number) for number, each in enumerate(dataset, 1))
        write_prior(options.out, _shown(episodes, len(dataset), counts), weights_sha256(_model(options)))
    except (ValueError, RuntimeError) as error:
        raise UserError(str(error)) from error
    skipped = counts.count(0)
    screen.console.print(f"{sum(counts)} transitions of {len(counts) - skipped} episodes: {options.out}")
    if skipped:
        screen.console.print(f"left out, since a person did not drive them from end to end: {skipped} episodes")
    return {"episodes": len(counts) - skipped, "skipped": skipped, "transitions": sum(counts), "out": str(options.out)}


def _onlooker(options: PriorOptions) -> Onlooker:
    from rl_learner.core.demonstrations import Looks, Onlooker
    from rl_learner.core.episode import Rules
    from rl_learner.core.recipe import read_recipe
    from vla_policy.core.backends import load_backend
    from vla_policy.nodes.resources import find_robot
    from whetstone_common.core.kinematics import Kinematics

    recipe, robot = read_recipe(read_method_file(options.method).path), find_robot(options.robot)
    arm = Kinematics.from_urdf(robot.urdf, robot.tip, robot.joints.arm)
    backend = load_backend(options.backend, str(_model(options)))
    rules = Rules(gamma=recipe.schedule.discount, window_steps=recipe.steps, lockstep=True)
    return Onlooker(backend, arm, robot.joints.names, rules, Looks(options.candidates, options.stride))


def _model(options: PriorOptions) -> Path:
    from vla_policy.nodes.resources import find

    return find(options.model_dir or _POCKET)


def _shown(episodes: Iterable[list[Transition]], total: int, counts: list[int]) -> Iterator[list[Transition]]:
    """Passes episodes on, shows how far it is, and counts the transitions of each."""
    with screen.progress() as bars:
        bar = bars.add_task("demonstrations through the policy", total=total, note="")
        for transitions in episodes:
            counts.append(len(transitions))
            bars.update(bar, completed=len(counts), note=f"{sum(counts)} transitions")
            yield transitions
