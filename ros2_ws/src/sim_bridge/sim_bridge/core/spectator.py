# SPDX-License-Identifier: Apache-2.0
"""A third camera, for people: the whole table at 640 px with shadows. No policy sees it, and it changes no model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.gl import mujoco
from sim_bridge.core.offscreen import Image, Offscreen
from sim_bridge.core.world import World

WIDTH_PX, HEIGHT_PX = 640, 480
# From the front left of the arm, over the table: all bodies lie between the camera and the arm.
_TARGET_M = (0.38, 0.0, 0.17)
_DISTANCE_M, _AZIMUTH_DEG, _ELEVATION_DEG = 1.2, 140.0, -26.0
_SAMPLES = 4
# Shadows are drawn in this share of the scene, what is in sight: it makes their edges finer than more pixels would.
_SHADOW_PX, _SHADOW_CLIP = 1024, 0.4
# Walls behind the arm, as centre and half sizes (m): without them everything above the floor is black.
_WALLS = (((-2.0, 0.0, 1.5), (0.01, 3.0, 2.5)), ((0.5, 2.5, 1.5), (3.0, 0.01, 2.5)))
_WALL_RGBA = np.array([0.52, 0.56, 0.60, 1.0], dtype=np.float32)


class Spectator:
    """Renders stored states of a world. Use it, as all rendering, from one thread only."""

    def __init__(self) -> None:
        self._model: Any = None
        self._data: Any = None
        self._offscreen: Offscreen | None = None

    def render(self, world: World, state: npt.NDArray[np.float64]) -> Image:
        """Picture (480, 640, 3) uint8 RGB of a state, as given by `World.state`."""
        if self._offscreen is None or self._model is not world.model:
            self.close()
            self._model, self._data = world.model, mujoco.MjData(world.model)
            self._offscreen = Offscreen(_with_shadows(world.model), WIDTH_PX, HEIGHT_PX)
        mujoco.mj_setState(self._model, self._data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        every, scene = mujoco.mjtCatBit.mjCAT_ALL, self._offscreen.scene
        mujoco.mjv_updateScene(self._model, self._data, mujoco.MjvOption(), None, _camera(), every, scene)
        _dress(scene)
        return self._offscreen.render()

    def close(self) -> None:
        """Free the OpenGL context; call it from the thread that rendered."""
        if self._offscreen is not None:
            self._offscreen.close()
        self._model = self._data = self._offscreen = None


def _camera() -> Any:
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:] = _TARGET_M
    camera.distance, camera.azimuth, camera.elevation = _DISTANCE_M, _AZIMUTH_DEG, _ELEVATION_DEG
    return camera


def _with_shadows(model: Any) -> Any:
    """Copy of a model for a context of finer pictures: other threads make theirs of the model itself."""
    copy = model.__copy__()
    copy.vis.quality.shadowsize, copy.vis.quality.offsamples = _SHADOW_PX, _SAMPLES
    copy.vis.map.shadowclip = _SHADOW_CLIP
    return copy


def _dress(scene: Any) -> None:
    """Let one lamp cast shadows, each costs as much as the picture itself, and put up walls."""
    lamps = [light for light in scene.lights[: scene.nlight] if not light.headlight]
    for lamp in lamps[-1:]:
        lamp.castshadow = 1
    for centre, half in _WALLS:
        if scene.ngeom < scene.maxgeom:
            mujoco.mjv_initGeom(
                scene.geoms[scene.ngeom],
                mujoco.mjtGeom.mjGEOM_BOX,
                np.array(half),
                np.array(centre),
                np.eye(3).reshape(-1),
                _WALL_RGBA,
            )
            scene.ngeom += 1
