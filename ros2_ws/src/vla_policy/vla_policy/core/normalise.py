# SPDX-License-Identifier: Apache-2.0
"""Z-score normalisation with a floor, and the statistics file that travels with the weights.

A dimension that hardly moves in the demonstrations (a rotation, say) must not be blown up to unit variance: its
standard deviation is replaced by a floor in physical units.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from whetstone_common.core.foreign import Name, Positive, StrictModel, read_json

FloatArray = NDArray[np.float32]
_CARTESIAN_DIMS = (7, 10)  # of an action and of proprioception
STD_FLOOR = 1e-2  # metres, radians and openings alike: a centimetre, half a degree, a hundredth of the stroke


@dataclass(frozen=True)
class Stats:
    """Mean and floored standard deviation of one quantity, [D] each."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuses numbers that cannot normalise anything."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        if mean.shape != std.shape or mean.ndim != 1 or mean.size == 0:
            raise ValueError(f"mean {mean.shape} and std {std.shape} must be vectors of one length")
        if not (np.isfinite(mean).all() and np.isfinite(std).all()):
            raise ValueError("mean and std must be finite")
        if not (std > 0.0).all():
            raise ValueError(f"std must be positive, smallest is {std.min()}")

    @classmethod
    def of(cls, samples: NDArray[Any], floor: float = STD_FLOOR) -> Stats:
        """Statistics of samples [..., D]; a std below `floor` becomes `floor`."""
        flat = np.asarray(samples, dtype=np.float64).reshape(-1, samples.shape[-1])
        if not np.isfinite(flat).all():
            raise ValueError("samples must be finite")
        std = np.maximum(flat.std(axis=0), floor)
        return cls(tuple(float(x) for x in flat.mean(axis=0)), tuple(float(x) for x in std))

    @classmethod
    def of_quantiles(
        cls, samples: NDArray[Any], low: float = 0.01, high: float = 0.99, floor: float = STD_FLOOR
    ) -> Stats:
        """Statistics that bring the range between two quantiles of samples [..., D] to -1..1; half of it has a floor.

        A dimension that hardly moves would otherwise be blown up a thousandfold (openpi, issue 814).
        """
        flat = np.asarray(samples, dtype=np.float64).reshape(-1, samples.shape[-1])
        if not np.isfinite(flat).all():
            raise ValueError("samples must be finite")
        below, above = np.quantile(flat, low, axis=0), np.quantile(flat, high, axis=0)
        half = np.maximum((above - below) / 2.0, floor)
        return cls(tuple(float(x) for x in (above + below) / 2.0), tuple(float(x) for x in half))

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def normalise(self, x: NDArray[Any]) -> FloatArray:
        """[..., D] physical -> normalised."""
        return np.asarray((x - np.asarray(self.mean)) / np.asarray(self.std), dtype=np.float32)

    def denormalise(self, x: NDArray[Any]) -> FloatArray:
        """[..., D] normalised -> physical."""
        return np.asarray(x * np.asarray(self.std) + np.asarray(self.mean), dtype=np.float32)


@dataclass(frozen=True)
class PolicyStats:
    """What `stats.json` holds beside the weights.

    Attributes:
        action: of chunk steps, relative to the state at the observation.
        proprio: of raw proprioception.
        cameras: names in the model's order.
        dt_s: seconds between two steps.
        action_space: `cartesian` or `joint`.
        instructions: instructions seen in training.
    """

    action: Stats
    proprio: Stats
    cameras: tuple[str, ...]
    dt_s: float
    action_space: str
    instructions: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Writes JSON."""
        body = {
            "action": {"mean": self.action.mean, "std": self.action.std},
            "proprio": {"mean": self.proprio.mean, "std": self.proprio.std},
            "cameras": self.cameras,
            "dt_s": self.dt_s,
            "action_space": self.action_space,
            "instructions": self.instructions,
        }
        path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> PolicyStats:
        """Reads what `save` wrote.

        Raises:
            StatsError: a key is missing or unknown, or a number cannot be used.
        """
        return read_json(path, _StatsFile, StatsError).built()


class StatsError(ValueError):
    """A stats.json that cannot be used; the text names file and key."""


class _Block(StrictModel):
    mean: Annotated[list[float], Field(min_length=1)]
    std: list[Positive]

    @model_validator(mode="after")
    def _check(self) -> _Block:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} numbers and std {len(self.std)}, expected as many")
        return self

    def built(self) -> Stats:
        return Stats(tuple(self.mean), tuple(self.std))


class _StatsFile(StrictModel):
    action: _Block
    proprio: _Block
    cameras: Annotated[list[Name], Field(min_length=1)]
    dt_s: Positive
    action_space: Literal["cartesian", "joint"]
    instructions: list[str]

    @model_validator(mode="after")
    def _check(self) -> _StatsFile:
        if len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"cameras are {self.cameras}, expected distinct names")
        found = (len(self.action.mean), len(self.proprio.mean))
        if self.action_space == "cartesian" and found != _CARTESIAN_DIMS:
            raise ValueError(f"action and proprio have {found} numbers, a cartesian policy has {_CARTESIAN_DIMS}")
        if self.action_space == "joint" and found[0] != found[1]:
            raise ValueError(f"action and proprio have {found} numbers, a joint policy has as many of both")
        return self

    def built(self) -> PolicyStats:
        return PolicyStats(
            action=self.action.built(),
            proprio=self.proprio.built(),
            cameras=tuple(self.cameras),
            dt_s=self.dt_s,
            action_space=self.action_space,
            instructions=tuple(self.instructions),
        )
