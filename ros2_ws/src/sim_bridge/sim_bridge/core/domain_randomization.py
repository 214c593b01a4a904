# SPDX-License-Identifier: Apache-2.0
"""Domain randomization of an episode by seed: colours, light and camera mounting errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.gl import mujoco
from sim_bridge.core.scene import FRONT_POSITION_M, FRONT_TARGET_M, LAMPS, look_at
from sim_bridge.core.tasks import COLOURS

Array = npt.NDArray[np.float64]

COLOUR_NOISE = 0.06
LAMP_RANGE = (0.20, 0.45)
TABLE_GREY_RANGE = (0.35, 0.75)
TABLE_TINT = 0.05
FRONT_NOISE_M = 0.012
WRIST_NOISE_RAD = 0.015
WRIST_NOISE_M = 0.002


class DomainRandomization:
    """Randomizes a compiled model for each episode, starting from the model's nominal values."""

    def __init__(self, model: Any, bodies: Sequence[str]) -> None:
        """Look up the elements of `model` and the nominal pose of its wrist camera."""
        self._model = model
        self._geoms = {name: np.flatnonzero(model.geom_bodyid == model.body(name).id) for name in bodies}
        self._front = model.camera("front").id
        self._wrist = next(k for k in range(model.ncam) if model.camera(k).name.endswith("wrist"))
        self._wrist_position = model.cam_pos[self._wrist].copy()
        self._wrist_quaternion = model.cam_quat[self._wrist].copy()
        self._lamps = [model.light(name).id for name in LAMPS]
        self._lamp_directions = model.light_dir[self._lamps].copy()

    def draw(self, rng: np.random.Generator, colours: Mapping[str, str]) -> None:
        """Randomize the model for one episode.

        Args:
            rng: Source of all randomness.
            colours: Colour name of each body.
        """
        for name, geoms in self._geoms.items():
            shade = np.clip(np.array(COLOURS[colours[name]]) + rng.uniform(-COLOUR_NOISE, COLOUR_NOISE, 3), 0.0, 1.0)
            self._model.geom_rgba[geoms, :3] = shade
        table = rng.uniform(*TABLE_GREY_RANGE) + rng.uniform(-TABLE_TINT, TABLE_TINT, 3)
        self._model.geom_rgba[self._model.geom("table").id, :3] = table
        for lamp, direction in zip(self._lamps, self._lamp_directions, strict=True):
            self._model.light_diffuse[lamp] = rng.uniform(*LAMP_RANGE)
            self._model.light_dir[lamp] = direction + rng.uniform(-0.15, 0.15, 3)
        self._aim_front(rng)
        self._turn_wrist(rng)

    def _aim_front(self, rng: np.random.Generator) -> None:
        position = np.array(FRONT_POSITION_M) + rng.uniform(-FRONT_NOISE_M, FRONT_NOISE_M, 3)
        target = np.array(FRONT_TARGET_M) + rng.uniform(-FRONT_NOISE_M, FRONT_NOISE_M, 3)
        self._model.cam_pos[self._front] = position
        self._model.cam_quat[self._front] = look_at(position, target, (0.0, 0.0, 1.0))

    def _turn_wrist(self, rng: np.random.Generator) -> None:
        turn = np.empty(4)
        vector = rng.uniform(-WRIST_NOISE_RAD, WRIST_NOISE_RAD, 3)
        angle = float(np.linalg.norm(vector))
        mujoco.mju_axisAngle2Quat(turn, vector / angle if angle > 0.0 else np.array([1.0, 0.0, 0.0]), angle)
        mujoco.mju_mulQuat(self._model.cam_quat[self._wrist], self._wrist_quaternion, turn)
        noise = rng.uniform(-WRIST_NOISE_M, WRIST_NOISE_M, 3)
        self._model.cam_pos[self._wrist] = self._wrist_position + noise
