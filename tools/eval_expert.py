# SPDX-License-Identifier: Apache-2.0
"""Success of the scripted expert in process, within the arm's limits: what demonstrations can show at best."""

from __future__ import annotations

import argparse
import sys

import numpy as np
from sim_rollout import POLICY_TIMEOUT_TICKS, TASKS, Cell


def ticks_to_success(cell: Cell, seed: int) -> int | None:
    """Length of the expert's episode of `seed`, or None when it did not succeed in time."""
    cell.reset(seed)
    for _ in range(POLICY_TIMEOUT_TICKS):
        aim = cell.expert_aim()
        cell.drive(aim.pose, aim.opening, by_human=True)
        if cell.truth().success:
            return cell.world.tick
    return None


def main() -> int:
    """Prints one line per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    args = parser.parse_args()
    for task in args.tasks:
        cell = Cell(task)
        lengths = [ticks_to_success(cell, seed) for seed in range(args.first_seed, args.first_seed + args.episodes)]
        done = [ticks for ticks in lengths if ticks is not None]
        failed = [args.first_seed + number for number, ticks in enumerate(lengths) if ticks is None]
        print(
            f"{task}: {len(done)}/{len(lengths)}, median {np.median(done or [0]):.0f} ticks, failed {failed}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
