# SPDX-License-Identifier: Apache-2.0
"""Moments that the eyes learn from: images, and where every body is.

A moment serves every instruction that fits its scene. Legend: T moments, O pairs of object and goal, S image size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vla_policy.core.training.dataset import DemoError, arrays_in, save_arrays
from whetstone_common.core.foreign import reading

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Views:
    """Moments of one episode; the first pair is the one that was instructed.

    Attributes:
        images: uint8 [T, 2, S, S, 3], front and wrist.
        proprio: float32 [T, 10], see `whetstone_common.core.cartesian.cartesian_proprio`.
        position: float32 [T, O, 2, 3] m in the base frame: the object's centre, and where it should end.
        yaw: float32 [T, O, 2] rad of object and goal, alike with a quarter symmetry.
        turned: bool [T, O, 2], whether that turn can be told: not of what is round, and not of what lies.
        held: bool [T, O], whether both fingers touch the object.
        instructions: O sentences.
    """

    images: NDArray[np.uint8]
    proprio: F32
    position: F32
    yaw: F32
    turned: NDArray[np.bool_]
    held: NDArray[np.bool_]
    instructions: tuple[str, ...]

    def __len__(self) -> int:
        """T."""
        return len(self.proprio)

    def save(self, path: Path) -> None:
        """Writes the episode; the file appears only when it is whole."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "instructions"}
        words = np.frombuffer("\n".join(self.instructions).encode(), dtype=np.uint8)
        save_arrays(path, arrays | {"instructions": words})

    @classmethod
    def load(cls, path: Path) -> Views:
        """Reads what `save` wrote; never unpickles.

        Raises:
            DemoError: An array is missing, or of another length than the others.
        """
        with reading(path, DemoError), np.load(path, allow_pickle=False) as data:
            arrays = arrays_in(path, data, [f.name for f in fields(cls)])
            words = arrays.pop("instructions").tobytes().decode()
            for name, array in arrays.items():
                if len(array) != len(arrays["proprio"]):
                    raise DemoError(f"{path}: {name} has {len(array)} moments, proprio {len(arrays['proprio'])}")
            return cls(instructions=tuple(words.split("\n")), **arrays)
