# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: which stack, which task, where results go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.model_options import model_arguments
from whetstone_cli.cli.stack import share
from whetstone_common.core.instruction import InstructionError, check_instruction
from whetstone_common.core.namespace import NamespaceError, absolute_namespace
from whetstone_common.core.robot import Robot, RobotError
from whetstone_common.nodes.robot_files import find_robot

POLICY_NODES = ("observation_node", "vla_node", "steering_node")


class Pace(str, Enum):  # noqa: UP042 - StrEnum came with Python 3.11
    """How time passes."""

    REALTIME = "realtime"
    LOCKSTEP = "lockstep"


class BackendName(str, Enum):  # noqa: UP042
    """Kind of model."""

    POCKET = "pocket"
    PI0 = "pi0"
    ONNX = "onnx"
    FAKE = "fake"


class OperatorName(str, Enum):  # noqa: UP042
    """Who takes over while a run trains."""

    SCRIPTED = "scripted"
    NONE = "none"


def recorder_arguments(folder: Path) -> tuple[tuple[str, str], ...]:
    """Launch arguments that keep every episode as an MCAP file in a folder."""
    return ("record", "true"), ("record_dir", str(folder.resolve()))


@dataclass(frozen=True)
class Training:
    """The learner's half of the stack.

    Attributes:
        run: Name of the run.
        directory: Folder that holds one folder per run.
        seed: Of networks and draws.
        max_steps: Control steps after which the learner has enough, 0 for the method file's.
        freeze: Publish the run's newest weights and learn nothing: for evaluations.
        prior: Folder of a run, or of demonstrations, that has a share of what is learnt from; empty for none.
        device: Where the learner's networks learn: cpu, cuda, cuda:<number> or auto.
    """

    run: str
    directory: str
    seed: int = 0
    max_steps: int = 0
    freeze: bool = False
    prior: str = ""
    device: str = "cpu"

    @property
    def arguments(self) -> dict[str, str]:
        """Arguments of whetstone.launch.xml."""
        return {
            "train": "true",
            "run": self.run,
            "run_dir": self.directory,
            "learner_seed": str(self.seed),
            "learner_max_steps": str(self.max_steps),
            "prior": self.prior,
            "learner_device": self.device,
            "freeze": str(self.freeze).lower(),
            "explore": str(not self.freeze).lower(),
        }

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes of it."""
        return ("learner_node",) if self.freeze else ("transition_node", "learner_node")


@dataclass(frozen=True)
class StackOptions:
    """Which stack to start.

    Attributes:
        task: Stem of a shipped task file, or path of one.
        sim: Simulator or real arm.
        robot: Robot file.
        pace: realtime or lockstep.
        backend: Kind of model.
        model_dir: Directory of the model, empty for the shipped one.
        method: How steering_node chooses.
        n_candidates: Chunks per request.
        execution: sync or async.
        namespace: Of the robot's nodes and topics, empty for none.
        training: The learner's half, None without one.
        extra: Further launch arguments.
    """

    task: str
    sim: bool = True
    robot: str = "sim_panda"
    pace: str = "lockstep"
    backend: str = "onnx"
    model_dir: str = ""
    method: str = "none"
    n_candidates: int = 1
    execution: str = "sync"
    namespace: str = ""
    training: Training | None = None
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def arguments(self) -> dict[str, str]:
        """Arguments of whetstone.launch.xml."""
        arguments = {
            "task": self.task_name,
            "sim": str(self.sim).lower(),
            "robot": self.robot,
            "pace": self.pace,
            "backend": self.backend,
            "method": self.method,
            "n_candidates": str(self.n_candidates),
            "execution": self.execution,
        }
        if _is_path(self.task):
            arguments["task_file"] = str(Path(self.task).resolve())
        if self.namespace:
            arguments["namespace"] = self.namespace
        if self.model_dir:
            arguments |= model_arguments(Path(self.model_dir), self.backend)
        if self.training is not None:
            arguments |= self.training.arguments
        return {**arguments, **dict(self.extra)}

    @property
    def task_name(self) -> str:
        """Name of the task, as goals and recordings say it."""
        return task_name_of(self.task)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes that must work before an episode can run."""
        learning = self.training.nodes if self.training is not None else ()
        recording = ("recorder_node",) if self.is_recorded else ()
        own = ("arm_node", "episode_node", *POLICY_NODES, *learning, *recording)
        return ("sim_node", *own) if self.sim else own

    @property
    def is_recorded(self) -> bool:
        """Whether there is a file of every episode."""
        return ("record", "true") in self.extra

    @property
    def storage(self) -> tuple[str, ...]:
        """Nodes that keep what happens: an episode begins when each of them is READY."""
        learning = self.training.nodes if self.training is not None and not self.training.freeze else ()
        return (*learning, "recorder_node") if self.is_recorded else learning

    def check(self) -> StackOptions:
        """Refuse what cannot work before anything is started.

        Raises:
            UserError: With the choices.
        """
        if _is_path(self.task):
            _check_task_file(Path(self.task), sim=self.sim)
        elif self.task not in task_names():
            choice = f"{', '.join(task_names())}; or give the path of a task file (.yaml)"
            raise UserError(f"there is no task {self.task!r}\n\nChoose from: {choice}")
        robot_of(self.robot)
        if not self.sim and self.pace == Pace.LOCKSTEP.value:
            raise UserError("a real arm does not wait: lockstep is for the simulator\n\nUse --pace realtime.")
        return self


def _is_path(task: str) -> bool:
    return task.endswith(".yaml")


def _check_task_file(path: Path, *, sim: bool) -> None:
    if not path.is_file():
        raise UserError(f"there is no task file {path}")
    if sim:
        from sim_bridge.core.task_file import TaskFileError, load_task  # with MuJoCo, which few commands need

        try:
            load_task(path)
        except TaskFileError as error:
            raise UserError(str(error)) from error


def task_name_of(task: str) -> str:
    """Name of a task that is given by its name or by the path of its file."""
    return Path(task).stem if _is_path(task) else task


def task_of(task: str) -> str:
    """A task as a command line gives it; a path becomes absolute, so that a run finds it again."""
    return str(Path(task).expanduser().resolve()) if _is_path(task) else task


def task_names() -> list[str]:
    """Stems of the installed task files."""
    return sorted(path.stem for path in (share() / "config" / "tasks").glob("*.yaml"))


def robot_names() -> list[str]:
    """Stems of the installed robot files."""
    return sorted(path.stem for path in (share() / "config" / "robots").glob("*.yaml"))


def words_of(instruction: str) -> str:
    """Words as they will be said; empty stays empty.

    Raises:
        UserError: They cannot be said.
    """
    try:
        return check_instruction(instruction) if instruction else ""
    except InstructionError as error:
        raise UserError(f"--instruction: {error}") from error


def namespace_of(text: str) -> str:
    """A namespace as names begin with it: `/left` of `left`.

    Raises:
        UserError: It cannot be one.
    """
    try:
        return absolute_namespace(text)
    except NamespaceError as error:
        raise UserError(f"--namespace: {error}") from error


Namespace = Annotated[
    str, typer.Option(callback=namespace_of, help="Namespace of the robot's nodes and topics, empty for none.")
]


def robot_of(name: str) -> Robot:
    """Robot of a robot file.

    Raises:
        UserError: There is none, or it cannot be accepted.
    """
    try:
        return find_robot(name)
    except RobotError as error:
        raise UserError(str(error)) from error
