# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes the action expert of a VLA on successes and on human corrections, into a new model directory.

`ros2 run whetstone_cli finetune DATASET... --out DIR`, or `whetstone finetune`: distillation in a few steps. Eyes and
words stay frozen, so that small policies that were trained on the old model's features go on with the new one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from whetstone_cli.jobs import post_train
from whetstone_cli.jobs.numbers import count, default_threads
from whetstone_cli.jobs.training_arguments import SHIPPED

STEPS = 600


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path, nargs="+", help="folders of LeRobotDatasets of format v3.0")
    parser.add_argument("--out", type=Path, required=True, help="model directory to make")
    parser.add_argument("--model-dir", default=SHIPPED, help="of a pocket VLA")
    parser.add_argument("--robot", default="sim_panda", help="robot file")
    parser.add_argument("--mapping", type=Path, help="file that says how the datasets record the robot's joints")
    parser.add_argument("--steps", type=count, default=STEPS, help="of the optimiser")
    parser.add_argument("--average", type=count, default=1, help="fine-tunings whose weights are averaged")
    parser.add_argument("--threads", type=count, default=default_threads())
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """The whole job; 2 when something does not fit."""
    args = parse(argv)
    words = ["distill", *map(str, args.datasets), f"--out={args.out}", f"--base={args.model_dir}"]
    words += [f"--{name}={getattr(args, name)}" for name in ("robot", "steps", "average", "threads", "seed")]
    words += [] if args.mapping is None else [f"--mapping={args.mapping}"]
    return post_train.run([*words, "--ema=0", "--held-out=0"])


if __name__ == "__main__":
    sys.exit(main())
