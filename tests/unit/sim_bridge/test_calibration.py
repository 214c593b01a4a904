# SPDX-License-Identifier: Apache-2.0
"""What the simulator says of its cameras is true: a body is drawn where the calibration says it is seen."""

from __future__ import annotations

import numpy as np
import pytest

from operator_console.core.camera_model import CameraModel, mounted_at
from sim_bridge.core.tasks import COLOURS
from sim_bridge.core.world import World

SIZE_PX = 96


def colour_at(image: np.ndarray, pixel: np.ndarray) -> str:
    """Name of the colour that a pixel resembles most, whatever the light."""
    column, row = np.round(pixel - 0.5).astype(int)
    rgb = image[row, column] / np.linalg.norm(image[row, column])
    return min(
        COLOURS, key=lambda name: float(np.linalg.norm(np.array(COLOURS[name]) / np.linalg.norm(COLOURS[name]) - rgb))
    )


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_when_a_body_is_projected_expect_its_colour_at_that_pixel(camera: str) -> None:
    world, seen = World("pick_place", image_size=SIZE_PX), 0
    for seed in range(8):
        world.reset(seed)
        calibration, truth = world.calibrations[camera], world.truth()
        focal, centre = calibration.focal_px, SIZE_PX / 2
        matrix = [focal, 0.0, centre, 0.0, focal, centre, 0.0, 0.0, 1.0]
        model = CameraModel.of_calibration(SIZE_PX, SIZE_PX, matrix, [0.0] * 5, "plumb_bob")
        optical = mounted_at(world.tcp_pose(), calibration.pose) if calibration.is_at_hand else calibration.pose
        (pixel,) = model.project(truth.object_position[None], optical)
        if (pixel > 2.0).all() and (pixel < SIZE_PX - 2.0).all():
            seen += 1
            named = next(word for word in truth.true_instruction.split() if word in COLOURS)
            assert colour_at(world.render(camera), pixel) == named, f"seed {seed}: {truth.true_instruction}"
    world.close()
    assert seen >= 4


def test_when_the_arm_moves_expect_the_hands_camera_to_stay_where_it_is_on_it() -> None:
    world = World("pick_place", image_size=SIZE_PX)
    mount = world.calibrations["wrist"].pose
    world.step(world.joint_positions() + 0.2, 1.0)
    for _ in range(20):
        world.step(world.command()[0], 1.0)
    moved = world.cameras.calibration(world._data, "wrist", world.tcp_pose()).pose  # noqa: SLF001
    assert np.allclose(moved.position, mount.position, atol=1e-6) and np.allclose(
        moved.rotation, mount.rotation, atol=1e-6
    )
    world.close()
