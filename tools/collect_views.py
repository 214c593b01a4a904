# SPDX-License-Identifier: Apache-2.0
"""Collects what the eyes learn from: rendered moments that policies visit, their failures above all.

Four of five episodes are the base's own, disturbed half the time, and sometimes ended by the expert; in the others the
hand wanders from place to place near the bodies, opening and closing. Each moment has the state of every body.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from collect_demos import SEED_BASE, Disturbance, draw_disturbances
from sim_rollout import POLICY_TIMEOUT_TICKS, ROOT, TASKS, Cell, Pose, apply_action, rotation_matrix

from sim_bridge.core.tasks import get_task
from vla_policy.core.backends import load_backend
from vla_policy.core.protocol import Backend, Observation
from vla_policy.core.training.views import Views

MODEL = ROOT / "ros2_ws" / "src" / "vla_policy" / "models" / "pocket"
VIEWS_OFFSET = 700_000  # seeds, beside those of demonstrations and scenes
EXECUTE = 8
WANDERING, DISTURBED, ENDED_BY_EXPERT = 0.2, 0.5, 0.3  # shares of episodes
NEAR_M = 0.10
KEPT_NEAR, KEPT_FAR = 0.8, 0.12  # shares of moments
WAYPOINTS, WAYPOINT_TICKS = 14, 6
UPRIGHT_MIN = 0.95


class Recorder:
    """Collects the moments of one episode.

    Args:
        cell: What is looked at.
        rng: Decides which moments are kept.
    """

    def __init__(self, cell: Cell, rng: np.random.Generator) -> None:
        self._cell, self._rng = cell, rng
        task, layout = get_task(cell.world.task_name), cell.world.layout
        first = (layout.object_name, layout.goal_name)
        pairs = [(thing, goal) for thing in task.objects for goal in task.goals if thing != goal]
        self._pairs = [first, *(pair for pair in pairs if pair != first)]
        self._task = task
        self._words = tuple(
            task.phrase.format(object=layout.colours[thing], goal=layout.colours[goal]) for thing, goal in self._pairs
        )
        self._cubes = {body.name: body.stands_on_any_face for body in task.bodies}
        self._rows: dict[str, list[object]] = {}

    def offer(self) -> None:
        """Perhaps keeps this moment."""
        tcp = self._cell.world.tcp_pose().position
        truth = self._cell.truth()
        near = min(float(np.linalg.norm(tcp - p)) for p in (truth.object_position, truth.goal_position))
        if self._rng.random() < (KEPT_NEAR if near < NEAR_M else KEPT_FAR):
            self.keep()

    def keep(self) -> None:
        """Keeps this moment."""
        cell, images = self._cell, self._cell.images()
        states = {name: cell.world.body_state(name) for name in self._cubes}
        end = np.array([0.0, 0.0, self._task.goal_offset_z_m])
        can_turn = {
            name: self._task.aligns_yaw or name in self._task.objects for name in states
        }  # a plate is round  # fmt: skip
        told = {n: can_turn[n] and (self._cubes[n] or s.upright > UPRIGHT_MIN) for n, s in states.items()}
        row = {
            "images": np.stack([images["front"], images["wrist"]]),
            "proprio": cell.proprio(),
            "position": [(states[a].position, states[b].position + end) for a, b in self._pairs],
            "yaw": [(states[a].yaw_rad, states[b].yaw_rad) for a, b in self._pairs],
            "turned": [(told[a], told[b]) for a, b in self._pairs],
            "held": [states[a].grasped for a, _ in self._pairs],
        }
        for name, value in row.items():
            self._rows.setdefault(name, []).append(value)

    def views(self) -> Views:
        """All that was kept, at least one moment."""
        kinds = {"images": np.uint8, "turned": np.bool_, "held": np.bool_}
        arrays = {name: np.asarray(values, dtype=kinds.get(name, np.float32)) for name, values in self._rows.items()}
        return Views(instructions=self._words, **arrays)  # type: ignore[arg-type]


def base_commands(cell: Cell, backend: Backend, seed: int) -> Iterator[tuple[Pose, float]]:
    """What the base does, tick by tick; other noise than in an evaluation of the same seed."""
    for request in range(POLICY_TIMEOUT_TICKS):
        context = backend.prefix(Observation(cell.images(), cell.proprio(), cell.world.instruction))
        noise = np.random.default_rng([seed, 79, request]).standard_normal((1, *backend.spec.noise_shape))
        chunk = backend.spec.denormalise(backend.denoise(context, noise.astype(np.float32)))[0]
        reference = cell.world.tcp_pose()
        for step in range(EXECUTE):
            yield apply_action(reference, chunk[step])


def base_episode(cell: Cell, backend: Backend, seed: int) -> Views:
    """The base's episode, perhaps disturbed, perhaps ended by the expert."""
    rng = np.random.default_rng([seed, 80])
    disturbances: list[Disturbance] = draw_disturbances(rng, DISTURBED)
    handover = int(rng.integers(10, 120)) if rng.random() < ENDED_BY_EXPERT else POLICY_TIMEOUT_TICKS
    recorder, commands = Recorder(cell, rng), base_commands(cell, backend, seed)
    recorder.keep()
    for tick in range(POLICY_TIMEOUT_TICKS):
        if tick < handover:
            pose, opening = next(commands)
        else:
            aim = cell.expert_aim()
            pose, opening = aim.pose, aim.opening
        for d in (d for d in disturbances if d.covers(tick)):
            turn = rotation_matrix(np.array([0.0, 0.0, d.turn_rad]))
            pose = Pose(pose.position + np.array(d.offset_m), turn @ pose.rotation)
            opening = opening if d.opening is None else d.opening
        cell.drive(pose, opening, by_human=tick >= handover)
        recorder.offer()
        if cell.truth().success:
            break
    return recorder.views()


def wandering_episode(cell: Cell, seed: int) -> Views:
    """The hand goes to places near object and goal, whatever is in its way."""
    rng = np.random.default_rng([seed, 81])
    recorder = Recorder(cell, rng)
    for _ in range(WAYPOINTS):
        truth = cell.truth()
        about = truth.object_position if rng.random() < 0.65 else truth.goal_position
        height = about[2] + rng.uniform(-0.01, 0.09)
        place = np.array([*(about[:2] + rng.normal(0.0, 0.025, 2)), max(0.015, height)])
        lean = rotation_matrix(np.array([*rng.normal(0.0, 0.03, 2), rng.uniform(-0.8, 0.8)]))
        pose, opening = Pose(place, lean @ np.diag([1.0, -1.0, -1.0])), float(rng.random() < 0.6)
        for tick in range(WAYPOINT_TICKS):
            cell.drive(pose, opening, by_human=True)
            if tick % 2:
                recorder.keep()
    return recorder.views()


def main() -> int:
    """Collects; episodes that exist are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/views"))
    parser.add_argument("--model", type=Path, default=MODEL, help="the base that is watched")
    parser.add_argument("--backend", default="onnx", choices=("onnx", "pocket"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--episodes", type=int, default=400, help="per task")
    parser.add_argument("--first", type=int, default=0, help="number of the first episode")
    args = parser.parse_args()
    torch.set_num_threads(1)
    backend = load_backend(args.backend, str(args.model), num_threads=1)
    cells, total = {task: Cell(task, backend.spec.image_height_px) for task in args.tasks}, 0
    for number in range(args.first, args.first + args.episodes):
        for task, cell in cells.items():
            path = args.out / task / f"{number:05d}.npz"
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = SEED_BASE[task] + VIEWS_OFFSET + number
            cell.reset(seed)
            wanders = np.random.default_rng([seed, 82]).random() < WANDERING
            views = wandering_episode(cell, seed) if wanders else base_episode(cell, backend, seed)
            views.save(path)
            total += len(views)
        if (number + 1) % 10 == 0:
            print(f"{number + 1 - args.first} of {args.episodes} episodes a task, {total} moments made", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
