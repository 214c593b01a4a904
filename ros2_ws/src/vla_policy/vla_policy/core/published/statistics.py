# SPDX-License-Identifier: Apache-2.0
"""Kinds of normalisation that published checkpoints use: all of them are a scale and an offset for each dimension.

Each tool keeps a division by zero away in its own way, and the numbers here are the tool's: LeRobot adds `eps` to a
standard deviation on the way in only, and replaces a range of zero; openpi adds 1e-6 both ways. Legend: D dims.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from rl_methods.common.checkpoint_error import CheckpointError

Array = NDArray[np.float64]
OPENPI_EPS = 1e-6


class Kind(StrEnum):
    """What is brought to which range."""

    IDENTITY = "identity"
    MEAN_STD = "mean_std"
    MIN_MAX = "min_max"
    QUANTILES = "quantiles"
    QUANTILE10 = "quantile10"


_RANGES = {Kind.MIN_MAX: ("min", "max"), Kind.QUANTILES: ("q01", "q99"), Kind.QUANTILE10: ("q10", "q90")}


@dataclass(frozen=True, eq=False)
class Normalisation:
    """Of one quantity.

    Attributes:
        kind: What it was made of.
        offset: [D] what becomes 0.
        scale_in: [D] what a state is divided by.
        scale_out: [D] what an action is multiplied by.
    """

    kind: Kind
    offset: Array
    scale_in: Array
    scale_out: Array

    @property
    def dim(self) -> int:
        """D."""
        return int(self.offset.size)

    def first(self, dims: int) -> Normalisation:
        """Of the first dimensions; statistics are often padded."""
        return Normalisation(self.kind, self.offset[:dims], self.scale_in[:dims], self.scale_out[:dims])


def identity(dims: int) -> Normalisation:
    """Numbers stay as they are."""
    return Normalisation(Kind.IDENTITY, np.zeros(dims), np.ones(dims), np.ones(dims))


def lerobot(kind: Kind, stats: Mapping[str, Array], where: str, eps: float = 1e-8) -> Normalisation:
    """As LeRobot's normalizer and unnormalizer compute it; transformers' PI0 processor does the same for mean and std.

    Raises:
        CheckpointError: Statistics of that kind are missing or cannot be used.
    """
    if kind is Kind.MEAN_STD:
        mean, std = _pair(stats, ("mean", "std"), where)
        return _checked(Normalisation(kind, mean, std + eps, std), where)
    low, high = _pair(stats, _RANGES[kind], where)
    span = np.where(high == low, eps, high - low)
    return _checked(Normalisation(kind, low + span / 2.0, span / 2.0, span / 2.0), where)


def openpi(kind: Kind, stats: Mapping[str, Array], where: str) -> Normalisation:
    """As openpi's Normalize and Unnormalize compute it.

    Raises:
        CheckpointError: Statistics of that kind are missing or cannot be used.
    """
    if kind is Kind.MEAN_STD:
        mean, std = _pair(stats, ("mean", "std"), where)
        return _checked(Normalisation(kind, mean, std + OPENPI_EPS, std + OPENPI_EPS), where)
    if kind is not Kind.QUANTILES:
        raise CheckpointError(f"{where}: normalisation is {kind.value}, openpi knows mean_std and quantiles")
    low, high = _pair(stats, _RANGES[kind], where)
    span = high - low + OPENPI_EPS
    return _checked(Normalisation(kind, low + span / 2.0, span / 2.0, span / 2.0), where)


def _pair(stats: Mapping[str, Array], names: tuple[str, str], where: str) -> tuple[Array, Array]:
    if missing := [name for name in names if name not in stats]:
        raise CheckpointError(f"{where} has no {missing[0]}, it has {sorted(stats)}")
    first, second = (np.asarray(stats[name], dtype=np.float64).reshape(-1) for name in names)
    if first.shape != second.shape:
        raise CheckpointError(f"{where}: {names[0]} has {first.size} numbers and {names[1]} {second.size}")
    for name, values in zip(names, (first, second), strict=True):
        if not np.isfinite(values).all():
            raise CheckpointError(f"{where}: {name} is not finite")
    return first, second


def _checked(found: Normalisation, where: str) -> Normalisation:
    for scale in (found.scale_in, found.scale_out):
        if not (scale >= 0.0).all():
            at = int(np.argmin(scale))
            raise CheckpointError(f"{where}: dimension {at} has a spread of {scale[at]}, it must not be negative")
    return found
