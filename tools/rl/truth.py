# SPDX-License-Identifier: Apache-2.0
"""A VLA whose features are the simulator's truth: how far a method comes when seeing is perfect, for diagnosis only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sim_rollout import Cell

from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.protocol import Backend, FloatArray, Observation, PolicySpec

SYMMETRY = 4  # objects and goals look the same after a quarter turn
DIM = 22


def truth_features(cell: Cell) -> FloatArray:
    """[22] object from the hand (3, m), goal from the object (3, m), sine and cosine of four times the object's and
    the goal's turn from the fingers (4), held and touched (2), proprioception (10); along the axes of the base, as
    actions are.
    """
    truth, hand = cell.world.truth(), cell.world.tcp_pose()
    yaw = np.arctan2(hand.rotation[1, 0], hand.rotation[0, 0])
    turns = SYMMETRY * (np.array([truth.object_yaw_rad, truth.goal_yaw_rad]) - yaw)
    parts = (
        truth.object_position - hand.position, truth.goal_position - truth.object_position,
        np.sin(turns), np.cos(turns), [truth.grasped, truth.touched], cell.proprio(),
    )  # fmt: skip
    return np.concatenate(parts).astype(np.float32)


class SeesTruth:
    """A backend with another's chunks, and the truth of a cell as features.

    Args:
        backend: Proposes.
        cell: Whose state is shown; it must be at the moment of the observation.
    """

    def __init__(self, backend: Backend, cell: Cell) -> None:
        self._backend, self._cell = backend, cell

    @property
    def spec(self) -> PolicySpec:
        """The other's, but for the features."""
        return replace(self._backend.spec, feature_dim=DIM)

    def warmup(self) -> None:
        """See `Backend`."""
        self._backend.warmup()

    def check_instruction(self, words: str) -> None:
        """See `Backend`."""
        self._backend.check_instruction(words)

    def prefix(self, observation: Observation) -> Any:
        """See `Backend`."""
        return self._backend.prefix(observation)

    def features(self, _context: Any) -> FloatArray:
        """[22] of `truth_features`."""
        return truth_features(self._cell)

    def denoise(self, context: Any, noise: FloatArray, old: ChunkPrefix | None = None) -> FloatArray:
        """See `Backend`."""
        return self._backend.denoise(context, noise, old)
