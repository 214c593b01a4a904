# SPDX-License-Identifier: Apache-2.0
"""The images of a decision as one PNG: nothing is lost, and what is not such a PNG is refused."""

from __future__ import annotations

import numpy as np
import pytest

from vla_policy.core.stacked_images import decoded, encoded, stacked
from vla_policy.core.steering.recent_images import RecentImages
from whetstone_common.core.pixels import ImageError, squared
from whetstone_common.core.stamp import Stamp


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", [(1, 8, 8, 3), (2, 96, 96, 3), (3, 24, 40, 3)])
def test_when_images_are_encoded_expect_every_pixel_back(shape: tuple[int, ...]) -> None:
    images = noise(*shape)
    data = encoded(images)
    assert data.dtype == np.uint8 and data.ndim == 1
    assert np.array_equal(decoded(data, shape[0]), images)


def test_when_images_are_smooth_expect_a_fraction_of_their_bytes() -> None:
    images = np.broadcast_to(np.arange(96, dtype=np.uint8)[:, None], (2, 96, 96, 3))
    assert encoded(images).nbytes < images.size / 10


def test_when_cameras_are_stacked_expect_the_order_asked_for_and_others_left_out() -> None:
    images = {"wrist": noise(4, 4, 3), "front": np.zeros((4, 4, 3), np.uint8), "side": noise(9, 9, 3)}
    assert np.array_equal(stacked(images, ("front", "wrist")), np.stack([images["front"], images["wrist"]]))
    with pytest.raises(ImageError, match="no image of 'top'"):
        stacked(images, ("front", "top"))
    with pytest.raises(ImageError, match="must be equal"):
        stacked(images, ("front", "side"))


def test_when_bytes_are_no_whole_png_of_the_cameras_expect_refusal() -> None:
    data = encoded(noise(2, 8, 8, 3))
    for wrong in (data[:-1], data[:0], np.zeros(100, np.uint8)):
        with pytest.raises(ImageError):
            decoded(wrong, 2)
    with pytest.raises(ImageError, match="16 rows cannot be those of 3 cameras"):
        decoded(data, 3)


def test_when_images_are_squared_expect_areas_averaged() -> None:
    images = np.zeros((1, 8, 4, 3), np.uint8)
    images[0, :4] = 200
    small = squared(images, 2)
    assert small.shape == (1, 2, 2, 3) and np.array_equal(small[0, :, :, 0], [[200, 200], [0, 0]])


def test_when_observations_are_kept_expect_them_by_request_and_the_oldest_gone() -> None:
    recent, stamps = RecentImages(), [Stamp(1, 1, n, n, 0) for n in range(1, 12)]
    for stamp in stamps:
        recent.put(stamp, np.full((1, 2, 2, 3), stamp.request_id, np.uint8))
    assert recent.of(stamps[0]) is None
    found = recent.of(stamps[-1])
    assert found is not None and found[0, 0, 0, 0] == 11
    assert recent.of(Stamp(2, 1, 11, 11, 0)) is None
