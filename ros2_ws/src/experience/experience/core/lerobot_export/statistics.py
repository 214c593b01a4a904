# SPDX-License-Identifier: Apache-2.0
"""Statistics per feature, in the shapes that the format wants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
# Frames per episode that image statistics look at; pixels of neighbouring frames hardly differ.
_IMAGE_SAMPLES = 16
_LEVELS = 256


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


def histogram(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each level occurs per channel [3, 256], of images [n, H, W, 3]."""
    return np.stack([np.bincount(images[..., channel].ravel(), minlength=_LEVELS) for channel in range(3)])


def of_images(counts: npt.NDArray[np.int64], frames: int) -> dict[str, list[Any]]:
    """Statistics per channel in 0..1, each of shape [3, 1, 1].

    Args:
        counts: What `histogram` gave, or the sum of several.
        frames: Number of images behind it.
    """
    channels = [_of_levels(channel) for channel in counts]
    shaped = {name: [[[channel[name]]] for channel in channels] for name in channels[0]}
    return {**shaped, "count": [frames]}


def _of_levels(counts: npt.NDArray[np.int64]) -> dict[str, float]:
    """Statistics of one channel; the same as of its pixels one by one."""
    levels = np.arange(_LEVELS) / (_LEVELS - 1)
    present = levels[counts > 0]
    mean = float(np.average(levels, weights=counts))
    std = float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))
    return {
        "min": float(present[0]), "max": float(present[-1]), "mean": mean, "std": std,
        **{name: _quantile(levels, counts, q) for name, q in _QUANTILES.items()},
    }  # fmt: skip


def _quantile(levels: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], share: float) -> float:
    """Numpy's linear quantile, between the two pixels that would stand there if all were sorted."""
    ends = np.cumsum(counts)
    place = share * (int(ends[-1]) - 1)
    low, high = (float(levels[np.searchsorted(ends, rank, side="right")]) for rank in (np.floor(place), np.ceil(place)))
    return low + (place - np.floor(place)) * (high - low)


class DatasetStatistics:
    """Statistics of every feature, of each episode and of all of them.

    Args:
        numeric: Names of the features in the data files.
        cameras: Name of each camera by the name of its feature.
    """

    def __init__(self, numeric: Iterable[str], cameras: Mapping[str, str]) -> None:
        self._cameras = cameras
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in numeric}
        self._images: dict[str, list[tuple[np.ndarray, int]]] = {key: [] for key in cameras}

    def add(
        self, columns: Mapping[str, np.ndarray], images: Mapping[str, Sequence[np.ndarray]]
    ) -> dict[str, dict[str, list[Any]]]:
        """Take an episode in, and return its own statistics by feature.

        Args:
            columns: Values of each feature in the data files, [frames, dim] or [frames].
            images: Of each camera, [H, W, 3].
        """
        stats = {name: of_vectors(column) for name, column in columns.items()}
        for name, column in columns.items():
            self._columns[name].append(column)
        for key, camera in self._cameras.items():
            some = sampled(images[camera])
            self._images[key].append((histogram(some), len(some)))
            stats[key] = of_images(*self._images[key][-1])
        return stats

    def total(self) -> dict[str, dict[str, list[Any]]]:
        """Statistics over all episodes by feature; there is at least one."""
        stats = {name: of_vectors(np.concatenate(parts)) for name, parts in self._columns.items()}
        for key, parts in self._images.items():
            counts, frames = zip(*parts, strict=True)
            stats[key] = of_images(np.sum(counts, axis=0), sum(frames))
        return stats
