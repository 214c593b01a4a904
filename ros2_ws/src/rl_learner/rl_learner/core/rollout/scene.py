# SPDX-License-Identifier: Apache-2.0
"""What a rollout needs: a simulated arm behind the limits of arm_node, and who may take over from the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_policy.core.protocol import Observation
from whetstone_common.core.kinematics import Pose


@dataclass(frozen=True, eq=False)
class Driven:
    """What became of a command.

    Attributes:
        pose: Of the TCP, as commanded after the limits.
        opening: The same of the gripper.
        refused: Too far from what the limits allow: the arm braked instead.
    """

    pose: Pose
    opening: float
    refused: bool


class Scene(Protocol):
    """One task in a simulator."""

    joint_names: tuple[str, ...]

    @property
    def tick(self) -> int:
        """Control steps since the reset."""
        ...

    def reset(self, seed: int) -> None:
        """Start the episode of `seed`."""
        ...

    def observation(self) -> Observation:
        """Images, proprioception and instruction, as observation_node would send them."""
        ...

    def pose(self) -> Pose:
        """Measured TCP pose."""
        ...

    def success(self) -> bool:
        """Whether the task is done."""
        ...

    def drive(self, pose: Pose, opening: float, *, by_human: bool = False) -> Driven:
        """One control step towards a TCP target, within the limits."""
        ...

    def truth(self) -> Mapping[str, NDArray[np.generic]]:
        """What only a simulator knows, for analysis."""
        ...


class Operator(Protocol):
    """Who may take over."""

    def begin(self, *, demonstrate: bool) -> None:
        """An episode begins; with `demonstrate` the operator drives all of it."""
        ...

    def watch(self, commanded_opening: float) -> bool:
        """Look at the scene after a control step; whether the operator drives the next one."""
        ...

    def command(self) -> tuple[Pose, float]:
        """TCP target and gripper opening while the operator drives."""
        ...
