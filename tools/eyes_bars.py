# SPDX-License-Identifier: Apache-2.0
"""How well a policy's eyes read the hand-frame state on its own roll-outs, failures included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sim_rollout import POLICY_TIMEOUT_TICKS, Cell, apply_action

from sim_bridge.core.tasks import get_task
from vla_policy.core.eyes import HAND_FRAME_NAMES, HELD, POSITIONS, TURNS
from vla_policy.core.protocol import Backend, Observation
from vla_policy.core.training.eyes import hand_frame

NEAR_M = 0.08  # of the hand to the object: what is measured
EVERY = 4  # ticks between two looks
UPRIGHT_MIN = 0.95


@dataclass(frozen=True, eq=False)
class Errors:
    """Of M looks near the object.

    Attributes:
        object_m: [M] distance between the object's place and what was read.
        goal_m: [M] the same of the goal.
        turn_deg: Of the object, where it can be told.
        held: [M] whether what was read of the grasp is right.
    """

    object_m: NDArray[np.float64]
    goal_m: NDArray[np.float64]
    turn_deg: NDArray[np.float64]
    held: NDArray[np.bool_]

    def line(self) -> str:
        """Medians and 90 % quantiles."""
        names = (
            ("object", 1000.0 * self.object_m, "mm"),
            ("goal", 1000.0 * self.goal_m, "mm"),
            ("turn", self.turn_deg, "deg"),
        )
        parts = [f"{name} {np.median(x):.1f} {unit}, p90 {np.quantile(x, 0.9):.1f}" for name, x, unit in names]
        return "; ".join([*parts, f"held right {self.held.mean():.3f}; {len(self.held)} looks"])


def joined(parts: list[Errors]) -> Errors:
    """Those of several tasks."""
    return Errors(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("object_m", "goal_m", "turn_deg", "held")))


def errors_on(cell: Cell, backend: Backend, seeds: range, execute: int) -> Errors:
    """Errors on the policy's own episodes of some seeds; noise is drawn from (seed, request number)."""
    rows: list[tuple[NDArray[np.float32], NDArray[np.float32], bool]] = []
    for seed in seeds:
        cell.reset(seed)
        for request in range(POLICY_TIMEOUT_TICKS // execute):
            context = backend.prefix(_look(cell))
            noise = np.random.default_rng([seed, request]).standard_normal((1, *backend.spec.noise_shape))
            chunk = backend.spec.denormalise(backend.denoise(context, noise.astype(np.float32)))[0]
            reference = cell.world.tcp_pose()
            for step in range(execute):
                if step % EVERY == 0 and _is_near(cell):
                    seen = context if step == 0 else backend.prefix(_look(cell))
                    rows.append((backend.features(seen)[-len(HAND_FRAME_NAMES) :], *_truth(cell)))
                cell.drive(*apply_action(reference, chunk[step]))
            if cell.truth().success:
                break
    return _errors(rows)


def _look(cell: Cell) -> Observation:
    return Observation(cell.images(), cell.proprio(), cell.world.instruction)


def _is_near(cell: Cell) -> bool:
    return float(np.linalg.norm(cell.world.tcp_pose().position - cell.truth().object_position)) < NEAR_M


def _truth(cell: Cell) -> tuple[NDArray[np.float32], bool]:
    world, truth = cell.world, cell.truth()
    thing, goal = (world.body_state(name) for name in (world.layout.object_name, world.layout.goal_name))
    spec = next(body for body in get_task(world.task_name).bodies if body.name == world.layout.object_name)
    places = np.stack([truth.object_position, truth.goal_position]).astype(np.float32)
    yaws = np.array([thing.yaw_rad, goal.yaw_rad], dtype=np.float32)
    told = spec.stands_on_any_face or thing.upright > UPRIGHT_MIN
    return hand_frame(cell.proprio(), places, yaws, np.asarray(thing.grasped)), told


def _errors(rows: list[tuple[NDArray[np.float32], NDArray[np.float32], bool]]) -> Errors:
    read, true = (np.array([row[k] for row in rows], dtype=np.float64) for k in (0, 1))
    told = np.array([row[2] for row in rows])
    away = np.linalg.norm((read - true)[:, POSITIONS].reshape(-1, 2, 3), axis=2)
    angles = [np.arctan2(x[:, TURNS][:, 1], x[:, TURNS][:, 0]) for x in (read, true)]
    turn = np.abs((angles[0] - angles[1] + np.pi) % (2 * np.pi) - np.pi) / 4.0
    held = (read[:, HELD] > 0.5) == (true[:, HELD] > 0.5)
    return Errors(away[:, 0], away[:, 1], np.degrees(turn[told]), held)
