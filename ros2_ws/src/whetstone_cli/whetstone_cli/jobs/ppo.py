# SPDX-License-Identifier: Apache-2.0
"""PPO on a VLA's action expert, in simulators that run in processes of their own, into a new model directory.

`ros2 run whetstone_cli ppo --task TASK --out DIR`, or `whetstone ppo`. Run it again to go on with a run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from whetstone_cli.jobs.numbers import count, default_threads
from whetstone_common.core.ray_cluster import HELP

_LEAST = {"envs": 4, "iterations": 100, "evaluation_episodes": 50}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="pick_place", help="task file, by name")
    parser.add_argument("--out", type=Path, required=True, help="model directory to make")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the run: checkpoints and TensorBoard")
    parser.add_argument("--model-dir", default="package://vla_policy/models/pocket", help="model to begin with")
    parser.add_argument("--robot", default="sim_panda", help="robot file")
    parser.add_argument("--method-file", type=Path, help="settings of the method, instead of the shipped")
    parser.add_argument("--envs", type=count, default=_LEAST["envs"], help="simulators, each in a process")
    parser.add_argument("--ray", default="", help=f"{HELP}; empty for processes of this machine")
    parser.add_argument("--iterations", type=count, default=_LEAST["iterations"], help="of the whole run")
    parser.add_argument("--episodes", type=count, help="per iteration, instead of the settings'")
    parser.add_argument("--budget-steps", type=int, default=0, help="control steps of the whole run, 0 for no bound")
    parser.add_argument("--evaluate-every", type=int, default=5, help="iterations between evaluations, 0 for none")
    parser.add_argument("--evaluation-episodes", type=count, default=_LEAST["evaluation_episodes"])
    parser.add_argument("--seed", type=int, default=0, help="of scenes, noise and networks")
    parser.add_argument("--device", default="cpu", help="torch device of the model")
    parser.add_argument("--threads", type=count, default=default_threads(), help="of the learner")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """The whole job; 2 when something does not fit."""
    args = parse(argv)
    # Imported late: simulators in processes of their own import this module again, and need no torch.
    from whetstone_cli.jobs.ppo_training import train

    try:
        train(args)
    except (ValueError, RuntimeError, ArithmeticError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
