# SPDX-License-Identifier: Apache-2.0
"""Offscreen rendering of a model's cameras. An OpenGL context belongs to one thread: use it from that thread only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim_bridge.core.gl import mujoco
from sim_bridge.core.offscreen import Image, Offscreen
from whetstone_common.core.kinematics import Pose

# MuJoCo's cameras look along -z with y upwards; an optical frame looks along z with y downwards.
_TO_OPTICAL = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """Where a camera is and how it sees; the same for all images of an episode.

    Attributes:
        focal_px: Focal length (px); the principal point is the image centre.
        is_at_hand: Whether it moves with the TCP.
        pose: Of its optical frame, in the frame of the TCP or of the base.
    """

    focal_px: float
    is_at_hand: bool
    pose: Pose


class Cameras:
    """Renders square images of a compiled model.

    Args:
        model: The compiled model.
        size: Width and height (px).
        names: Public name of each camera and its name in the model.

    Attributes:
        size: As given.
        names: As given.
    """

    def __init__(self, model: Any, size: int, names: dict[str, str]) -> None:
        self._model = model
        self.size = size
        self.names = names
        self._offscreen: Offscreen | None = None

    def render(self, data: Any, camera: str) -> Image:
        """Image of `camera` at the state in `data`, (H, W, 3) uint8 RGB.

        Raises:
            ValueError: If there is no such camera.
        """
        if camera not in self.names:
            raise ValueError(f"unknown camera {camera!r}; there are {', '.join(self.names)}")
        if self._offscreen is None:
            self._offscreen = Offscreen(self._model, self.size, self.size)
        eye = mujoco.MjvCamera()
        eye.type = mujoco.mjtCamera.mjCAMERA_FIXED
        eye.fixedcamid = self._model.camera(self.names[camera]).id
        every = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, mujoco.MjvOption(), None, eye, every, self._offscreen.scene)
        return self._offscreen.render()

    def calibration(self, data: Any, camera: str, tcp: Pose) -> CameraCalibration:
        """Calibration of `camera` at the state in `data`, in which the TCP has the pose `tcp`."""
        number = self._model.camera(self.names[camera]).id
        fovy = math.radians(float(self._model.cam_fovy[number]))
        position = np.array(data.cam_xpos[number])
        rotation = np.array(data.cam_xmat[number]).reshape(3, 3) @ _TO_OPTICAL
        is_at_hand = int(self._model.cam_bodyid[number]) != 0
        if is_at_hand:
            position, rotation = tcp.rotation.T @ (position - tcp.position), tcp.rotation.T @ rotation
        return CameraCalibration(0.5 * self.size / math.tan(0.5 * fovy), is_at_hand, Pose(position, rotation))

    def close(self) -> None:
        """Free the OpenGL context; call it from the thread that rendered."""
        if self._offscreen is not None:
            self._offscreen.close()
            self._offscreen = None
