# SPDX-License-Identifier: Apache-2.0
"""Statistics per feature, in the shapes that the format wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
# Frames per episode that image statistics look at; pixels of neighbouring frames hardly differ.
_IMAGE_SAMPLES = 16


def of_vectors(values: np.ndarray) -> dict[str, list[Any]]:
    """Statistics over frames.

    Args:
        values: [frames, dim] or [frames].
    """
    rows = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    stats = {
        "min": rows.min(0),
        "max": rows.max(0),
        "mean": rows.mean(0),
        "std": rows.std(0),
        **{name: np.quantile(rows, q, axis=0) for name, q in _QUANTILES.items()},
    }
    return {**{name: value.tolist() for name, value in stats.items()}, "count": [len(rows)]}


def sampled(images: Sequence[np.ndarray]) -> np.ndarray:
    """A few frames of an episode, evenly spread [n, H, W, 3]."""
    count = min(_IMAGE_SAMPLES, len(images))
    return np.stack([images[i] for i in np.linspace(0, len(images) - 1, count).astype(int)])


def of_images(images: np.ndarray) -> dict[str, list[Any]]:
    """Statistics per channel in 0..1, each of shape [3, 1, 1].

    Args:
        images: uint8 [n, H, W, 3].
    """
    pixels = images.reshape(-1, 3).astype(np.float64) / 255.0
    stats = of_vectors(pixels)
    shaped = {name: [[[x]] for x in value] for name, value in stats.items() if name != "count"}
    return {**shaped, "count": [len(images)]}
