# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from experience.core.lerobot_export.statistics import histogram, of_images, of_vectors


@pytest.mark.parametrize(("low", "high", "frames"), [(0, 256, 5), (3, 9, 2), (7, 8, 1)])
def test_when_levels_are_counted_expect_the_statistics_of_every_pixel(low: int, high: int, frames: int) -> None:
    parts = np.random.default_rng(0).integers(low, high, (2, frames, 17, 13, 3), dtype=np.uint8)
    pixel_by_pixel = of_vectors(parts.reshape(-1, 3) / 255.0)
    counted = of_images(histogram(parts[0]) + histogram(parts[1]), 2 * frames)
    assert counted.pop("count") == [2 * frames]
    for name, value in counted.items():
        assert np.shape(value) == (3, 1, 1)
        np.testing.assert_allclose(np.ravel(value), pixel_by_pixel[name], atol=1e-12)
