# SPDX-License-Identifier: Apache-2.0
"""Episodes in process with the data that a learner on the graph would have, and the truth beside it for analysis.

Legend: K decisions, C steps executed per decision, N candidates, H horizon, A action dims, F features.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sim_rollout import POLICY_TIMEOUT_TICKS, ROOT, Cell, Pose, apply_action

sys.path.insert(0, str(ROOT / "ros2_ws" / "src" / "rl_learner"))

from vla_policy.core.protocol import Backend, FloatArray, Observation
from whetstone_common.core.kinematics import rotation_vector

POLICY, HUMAN = 1, 2


@dataclass(frozen=True, eq=False)
class Decision:
    """What a chooser may look at.

    Attributes:
        features: float32 [F].
        candidates: float32 [N, H, A] normalised.
        noise: float32 [N, H, A].
        number: Of the decision within the episode.
        seed: Of the episode.
    """

    features: FloatArray
    candidates: FloatArray
    noise: FloatArray
    number: int
    seed: int


@dataclass(frozen=True, eq=False)
class Pick:
    """A chunk to play, float32 [H, A] normalised; the candidate it comes from; whether it was edited."""

    chunk: FloatArray
    candidate: int = 0
    edited: bool = False
    scores: FloatArray | None = None


Chooser = Callable[[Decision], Pick]


def first_candidate(decision: Decision) -> Pick:
    """The plain VLA."""
    return Pick(decision.candidates[0])


class Operator(Protocol):
    """A person who may take the arm over, tick by tick."""

    def reset(self) -> None:
        """A new episode."""
        ...

    def act(self, cell: Cell, pose: Pose, opening: float, *, fresh: bool) -> tuple[Pose, float] | None:
        """Sees what is about to be commanded; returns another command, or None to leave it.

        `fresh` says that a new chunk starts, so that the arm can be handed back.
        """
        ...


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode; row k is decision k.

    Attributes:
        features: float32 [K, F].
        candidates: float32 [K, N, H, A] normalised.
        noise: float32 [K, N, H, A].
        chunk: float32 [K, H, A] that was chosen, normalised.
        executed: float32 [K, C, A] that was commanded, relative to the pose at the decision, normalised.
        actor: uint8 [K, C], 0 after the end.
        picked: int32 [K] candidate it came from.
        edited: bool [K].
        tcp: float32 [K, 3] m.
        object: float32 [K, 3] m (truth).
        goal: float32 [K, 3] m (truth).
        stage: uint8 [K] (truth).
        opening: float32 [K].
        seed: int64 [].
        ticks: int64 [].
        success: bool [].
    """

    features: FloatArray
    candidates: FloatArray
    noise: FloatArray
    chunk: FloatArray
    executed: FloatArray
    actor: npt.NDArray[np.uint8]
    picked: npt.NDArray[np.int32]
    edited: npt.NDArray[np.bool_]
    tcp: FloatArray
    object: FloatArray
    goal: FloatArray
    stage: npt.NDArray[np.uint8]
    opening: FloatArray
    seed: npt.NDArray[np.int64]
    ticks: npt.NDArray[np.int64]
    success: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """K."""
        return len(self.features)

    @property
    def human_ticks(self) -> int:
        """Ticks that a person commanded."""
        return int((self.actor == HUMAN).sum())


def save(path: Path, episodes: list[Episode]) -> None:
    """Writes episodes as plain arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"{i}/{f.name}": getattr(e, f.name) for i, e in enumerate(episodes) for f in fields(Episode)}
    np.savez(path, count=np.asarray(len(episodes)), **arrays)


def load(path: Path) -> list[Episode]:
    """Reads what `save` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return [Episode(**{f.name: data[f"{i}/{f.name}"] for f in fields(Episode)}) for i in range(int(data["count"]))]


@dataclass(frozen=True)
class Rules:
    """How an episode runs.

    Attributes:
        execute: Steps of each chunk that are executed.
        candidates: N.
        timeout_ticks: When it counts as failed.
    """

    execute: int = 8
    candidates: int = 8
    timeout_ticks: int = POLICY_TIMEOUT_TICKS


class Runner:
    """Plays episodes of one task with one VLA.

    Args:
        cell: World, arm and expert.
        backend: The VLA.
        rules: How episodes run.
    """

    def __init__(self, cell: Cell, backend: Backend, rules: Rules) -> None:
        self.cell, self.backend, self.rules = cell, backend, rules

    def decision(self, seed: int, number: int) -> Decision:
        """Looks, thinks and proposes; noise i depends on (seed, number, i) alone."""
        world, spec = self.cell.world, self.backend.spec
        context = self.backend.prefix(Observation(self.cell.images(), self.cell.proprio(), world.instruction))
        features = self.backend.features(context)
        shape = (self.rules.candidates, *spec.noise_shape)
        noise = np.random.default_rng([seed, number]).standard_normal(shape).astype(np.float32)
        return Decision(features, self.backend.denoise(context, noise), noise, number, seed)

    def play(self, seed: int, choose: Chooser, operator: Operator | None = None) -> Episode:
        """One episode from reset to success or time-out."""
        self.cell.reset(seed)
        if operator is not None:
            operator.reset()
        rows: dict[str, list[Any]] = {}
        for number in range(math.ceil(self.rules.timeout_ticks / self.rules.execute)):
            decision = self.decision(seed, number)
            pick = choose(decision)
            row = self._state() | {
                "features": decision.features,
                "candidates": decision.candidates,
                "noise": decision.noise,
                "chunk": pick.chunk,
                "picked": np.int32(pick.candidate),
                "edited": np.bool_(pick.edited),
            }
            row["executed"], row["actor"] = self.execute(pick.chunk, operator)
            for name, value in row.items():
                rows.setdefault(name, []).append(value)
            if self.cell.world.truth().success:
                break
        world = self.cell.world
        return Episode(
            **{name: np.stack(values) for name, values in rows.items()},
            seed=np.asarray(seed), ticks=np.asarray(world.tick), success=np.asarray(world.truth().success),
        )  # fmt: skip

    def execute(self, chunk: FloatArray, operator: Operator | None) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
        """Plays C steps; returns what was commanded [C, A] (the last repeats after the end) and by whom [C]."""
        cell, steps, spec = self.cell, self.rules.execute, self.backend.spec
        reference, actions = cell.world.tcp_pose(), spec.denormalise(chunk)
        commanded, actor = np.zeros((steps, spec.action_dim), np.float32), np.zeros(steps, np.uint8)
        for step in range(steps):
            pose, opening = apply_action(reference, actions[step])
            other = None if operator is None else operator.act(cell, pose, opening, fresh=step == 0)
            actor[step] = POLICY if other is None else HUMAN
            pose, opening = (pose, opening) if other is None else other
            turn = rotation_vector(pose.rotation @ reference.rotation.T)
            commanded[step:] = np.concatenate([pose.position - reference.position, turn, [opening]])
            cell.drive(pose, opening)
            if cell.world.truth().success:
                break
        return spec.normalise(commanded), actor

    def _state(self) -> dict[str, Any]:
        truth, world = self.cell.world.truth(), self.cell.world
        return {
            "tcp": world.tcp_pose().position.astype(np.float32),
            "object": truth.object_position.astype(np.float32),
            "goal": truth.goal_position.astype(np.float32),
            "stage": np.uint8(truth.stage),
            "opening": np.float32(world.gripper_opening()),
        }
