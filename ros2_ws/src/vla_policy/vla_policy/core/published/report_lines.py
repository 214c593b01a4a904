# SPDX-License-Identifier: Apache-2.0
"""What a compatibility report consists of; needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.published.mapping import ModelMapping

T = TypeVar("T")


@dataclass(frozen=True)
class ReportLine:
    """One thing that was looked at.

    Attributes:
        field: What.
        text: What was found.
        is_ok: Whether the model can be served as far as this goes.
    """

    field: str
    text: str
    is_ok: bool = True


@dataclass
class ModelReport:
    """All that was found.

    Attributes:
        lines: In the order in which they were looked at.
        template: Mapping file to fill in, empty where there is one already or nothing to map.
    """

    lines: list[ReportLine] = field(default_factory=list)
    template: str = ""

    @property
    def can_be_served(self) -> bool:
        """Whether nothing speaks against it."""
        return all(line.is_ok for line in self.lines)

    def note(self, name: str, text: str) -> None:
        """Add what is right, or only to be known."""
        self.lines.append(ReportLine(name, text))

    def problem(self, name: str, text: str) -> None:
        """Add what keeps the model from being served."""
        self.lines.append(ReportLine(name, text, is_ok=False))

    def attempt(self, name: str, read: Callable[[], T]) -> T | None:
        """The result of a step, None after a problem."""
        try:
            return read()
        except CheckpointError as error:
            self.problem(name, str(error))
            return None


@dataclass(frozen=True)
class RobotNames:
    """What a mapping maps to.

    Attributes:
        joints: The robot's joints, the gripper last.
        cameras: Names of its cameras.
    """

    joints: tuple[str, ...]
    cameras: tuple[str, ...]


def camera_problems(file: ModelMapping, robot: RobotNames) -> list[str]:
    """Cameras of a mapping that the robot lacks, one sentence for each."""
    unknown = [name for name in file.cameras.values() if name is not None and name not in robot.cameras]
    return [f"cameras: the robot has no {name!r}, it has {list(robot.cameras)}" for name in unknown]
