# SPDX-License-Identifier: Apache-2.0
"""gym-hil's `PandaPickCube` in a process of its own, for gym_hil_scene.py: requests and replies are msgpack on a pipe.

Runs in an environment that `tools/gym_hil_env` made. The task, its scene, its controller and what counts as success are
the package's own; here is the rate, the size of the pictures, and the way in and out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")

import msgpack
import mujoco
import numpy as np
from gym_hil.envs import PandaPickCubeGymEnv

DT_S = 0.05
STEP_M = 0.0125  # of the TCP per control step; the package's own operators take 25 mm at half the rate
SIZE_PX = 96
_RENDER_PX = 4 * SIZE_PX
# of the front picture: where the cube can lie; LeRobot's settings show all of it, at 128 px
_ROWS, _COLUMNS = slice(160, 352), slice(96, 288)
_CLOSED = 255.0  # command of the gripper
Array = np.ndarray[Any, Any]


class Server:
    """The environment behind three requests."""

    def __init__(self) -> None:
        self.env = PandaPickCubeGymEnv(control_dt=DT_S, random_block_position=True)
        self.env.close()  # its renderer draws with multisampling and shadows, which takes ten times as long in software
        model = self.env.model
        model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = model.vis.global_.offheight = _RENDER_PX
        self.env._viewer = mujoco.Renderer(model, _RENDER_PX, _RENDER_PX)  # noqa: SLF001 - takes no other
        self.success = False

    def reset(self, seed: int) -> dict[str, Any]:
        """Start the episode of `seed`; the package draws the cube's place from numpy's global generator."""
        np.random.seed(seed % 2**32)
        self.env.reset(seed=seed)
        self.success = False
        return self.state()

    def drive(self, target: list[float], opening: float) -> dict[str, Any]:
        """One control step towards a place of the TCP (m), no faster than `STEP_M`."""
        step = np.clip(np.asarray(target) - self._commanded(), -STEP_M, STEP_M)
        closing = float(np.clip(1.0 - opening, 0.0, 1.0)) - (1.0 - self._opening())
        *_, info = self.env.step(np.array([*step, 0.0, 0.0, 0.0, closing]))
        self.success = bool(info["succeed"])
        return self.state()

    def images(self) -> dict[str, bytes]:
        """Both cameras, uint8 RGB [96, 96, 3]."""
        front, wrist = self.env.render()
        return {"front": _smaller(front[_ROWS, _COLUMNS]), "wrist": _smaller(wrist)}

    def state(self) -> dict[str, Any]:
        """Joints (rad), gripper, TCP and cube (m), and whether the cube is lifted."""
        data = self.env.data
        joints = data.qpos[self.env._panda_dof_ids]  # noqa: SLF001 - there is no public name
        return {
            "joints": joints.tolist(), "opening": self._opening(),
            "tcp": data.sensor("2f85/pinch_pos").data.tolist(), "commanded": self._commanded().tolist(),
            "cube": data.sensor("block_pos").data.tolist(), "success": self.success,
        }  # fmt: skip

    def _commanded(self) -> Array:
        place: Array = self.env.data.mocap_pos[0].copy()
        return place

    def _opening(self) -> float:
        return 1.0 - float(self.env.get_gripper_pose()[0]) / _CLOSED


def _smaller(image: Array) -> bytes:
    """Mean of squares of pixels."""
    factor = image.shape[0] // SIZE_PX
    squares = image.reshape(SIZE_PX, factor, SIZE_PX, factor, 3)
    return squares.mean(axis=(1, 3)).round().astype(np.uint8).tobytes()


def main() -> None:
    """Answers until the pipe is closed."""
    # what a library prints must not get among the replies
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    server = Server()
    calls: dict[str, Callable[..., dict[str, Any]]] = {
        "reset": server.reset, "drive": server.drive, "images": server.images,
    }  # fmt: skip
    unpacker = msgpack.Unpacker()
    while block := os.read(0, 1 << 16):
        unpacker.feed(block)
        for name, *arguments in unpacker:
            out.write(msgpack.packb(calls[name](*arguments)))
            out.flush()


if __name__ == "__main__":
    sys.exit(main())
