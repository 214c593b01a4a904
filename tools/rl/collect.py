# SPDX-License-Identifier: Apache-2.0
"""Plays base episodes and keeps them: the base's success, and what a critic is judged on by diagnose.py."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from cell_scene import rollout_of
from sim_rollout import TASKS

from rl_learner.core.rollout.episode import save
from vla_policy.core.backends import load_backend
from whetstone_common.core.outputs import check_file


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--backend", default="onnx", choices=("onnx", "pocket"))
    parser.add_argument("--task", choices=TASKS, default="pick_place")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--execute", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    check_file(args.out)
    torch.set_num_threads(1)
    backend = load_backend(args.backend, str(args.model), num_threads=1)
    rollout = rollout_of(args.task, backend, args.execute, args.candidates)
    episodes, started = [], time.monotonic()
    for seed in range(args.first_seed, args.first_seed + args.episodes):
        episodes.append(rollout.play(seed))
        if len(episodes) % 10 == 0:
            wins = sum(bool(e.success) for e in episodes)
            print(f"{wins}/{len(episodes)}, {(time.monotonic() - started) / len(episodes):.2f} s/episode", flush=True)
    save(args.out, episodes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
