# SPDX-License-Identifier: Apache-2.0
"""gym-hil's `PandaPickCube` as a scene of `rl_learner`'s rollout: a task and a simulator of others.

The arm is the shipped robot file's Panda: its kinematics give the TCP, which the package has 6 mm higher. Turns are
left out, since the package holds the hand upright.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sim_rollout import ROBOT, ROOT, URDF

from rl_learner.core.rollout.scene import Driven
from vla_policy.core.protocol import Observation
from whetstone_common.core.cartesian import cartesian_proprio
from whetstone_common.core.kinematics import Kinematics, Pose
from whetstone_common.core.robot import load_robot

TASK = "gym_hil_pick"
INSTRUCTION = "pick up the pink cube"
MAX_TICKS = 200  # 10 s, as in the package
LIFT_M = 0.1  # at which the package says success
ENVIRONMENT = ROOT / "runs" / "gym_hil_env"
CAMERAS, SIZE_PX = ("front", "wrist"), 96
_SERVER = Path(__file__).with_name("gym_hil_server.py")
Array = NDArray[np.float64]


class GymHilScene:
    """The task in a process of its own.

    Args:
        joint_names: Of the arm, then of the gripper, as in the robot file.
        environment: Folder of an environment that `tools/gym_hil_env` made.

    Attributes:
        rest_m: Height of the cube at the reset.

    Raises:
        FileNotFoundError: There is no such environment.
    """

    def __init__(self, joint_names: tuple[str, ...], environment: Path = ENVIRONMENT) -> None:
        python = environment / "bin" / "python"
        if not python.exists():
            raise FileNotFoundError(f"{python} is missing: make it with tools/gym_hil_env {environment}")
        robot = load_robot(ROBOT)
        self._kinematics = Kinematics.from_urdf(URDF.read_text(encoding="utf-8"), robot.tip, robot.joints)
        self.joint_names, self.rest_m = joint_names, 0.0
        self._tick, self._state = 0, {"success": False}
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(python), str(_SERVER)]
        # unbuffered, so that reading gives what has come and does not wait for more
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=clean)
        self._replies = msgpack.Unpacker(self._process.stdout, read_size=1 << 12)

    @property
    def tick(self) -> int:
        """Control steps since the reset."""
        return self._tick

    def reset(self, seed: int) -> None:
        """Start the episode of `seed`."""
        self._state, self._tick = self._ask("reset", seed), 0
        self.rest_m = float(self.cube[2])

    def observation(self) -> Observation:
        """Images, proprioception and instruction."""
        shape = (SIZE_PX, SIZE_PX, 3)
        images = {name: np.frombuffer(raw, np.uint8).reshape(shape) for name, raw in self._ask("images").items()}
        return Observation(images, cartesian_proprio(self.pose(), self.opening), INSTRUCTION)

    def pose(self) -> Pose:
        """Measured TCP pose."""
        return self._kinematics.fk(self.joints)

    def success(self) -> bool:
        """Whether the package says that the cube is lifted."""
        return bool(self._state["success"])

    def drive(self, pose: Pose, opening: float, *, by_human: bool = False) -> Driven:
        """One control step towards a TCP target, within the server's speed."""
        offset = self.tcp - self.pose().position
        self._state = self._ask("drive", (pose.position + offset).tolist(), float(opening))
        self._tick += 1
        reached = Pose(np.asarray(self._state["commanded"]) - offset, self.pose().rotation)
        return Driven(reached, float(np.clip(opening, 0.0, 1.0)), refused=False)

    def truth(self) -> Mapping[str, NDArray[np.generic]]:
        """Cube and where it is lifted to (m), whether it is off the table, gripper opening."""
        return {
            "object": self.cube.astype(np.float32),
            "goal": self.goal.astype(np.float32),
            "stage": np.asarray(self.lifted_m > 0.0, np.uint8),
            "opening": np.asarray(self.opening, np.float32),
        }

    @property
    def joints(self) -> Array:
        """Measured joints of the arm, [7] rad."""
        return np.asarray(self._state["joints"])

    @property
    def tcp(self) -> Array:
        """Measured place of the TCP as the package has it, [3] m."""
        return np.asarray(self._state["tcp"])

    @property
    def cube(self) -> Array:
        """Centre of the cube, [3] m."""
        return np.asarray(self._state["cube"])

    @property
    def goal(self) -> Array:
        """Where the cube is lifted to, [3] m."""
        return np.array([*self.cube[:2], self.rest_m + LIFT_M])

    @property
    def opening(self) -> float:
        """Of the gripper as commanded, 1 open: the package measures no other."""
        return float(self._state["opening"])

    @property
    def lifted_m(self) -> float:
        """How far the cube is above where it lay."""
        return float(self.cube[2]) - self.rest_m

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10.0)

    def _ask(self, *request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(msgpack.packb(request))
        self._process.stdin.flush()
        try:
            reply: dict[str, Any] = next(self._replies)
        except StopIteration:
            raise RuntimeError(f"gym_hil_server.py ended with {self._process.wait(10.0)} at {request[0]}") from None
        return reply
