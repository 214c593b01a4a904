# SPDX-License-Identifier: Apache-2.0
"""Methods on a task and a simulator of others: gym-hil's `PandaPickCube`, in which LeRobot shows HIL-SERL.

`outside.py expo expo_alone hil_serl [--seeds 0 1 2]`. Makes the environment, demonstrations of a scripted expert and a
base (the shipped VLA, its action expert fine-tuned on them) where they are missing, then the runs; each becomes a row
of the record.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gym_hil_scene import ENVIRONMENT, TASK
from jobs import run
from matrix import ROOT, VARIANTS, Cell, Plan, missing

FOLDER = ROOT / "runs" / "gym_hil"
DEMONSTRATIONS, STEPS = 100, 3000
_TOOLS = Path(__file__).resolve().parents[1]


def make_base(folder: Path, episodes: int, steps: int) -> Path:
    """Directory of the base; what is there is not made again.

    Raises:
        CalledProcessError: A part of it failed.
    """
    base, demos = folder / "base", folder / "demonstrations"
    if not ENVIRONMENT.exists():
        subprocess.run([str(_TOOLS / "gym_hil_env"), str(ENVIRONMENT)], check=True)
    if not demos.exists():
        script = str(Path(__file__).with_name("gym_hil_demos.py"))
        subprocess.run([sys.executable, script, "--episodes", str(episodes), "--out", str(demos)], check=True)
    if not base.exists():
        words = ["sft", str(demos), "--out", str(base), "--steps", str(steps), "--seed", "0"]
        subprocess.run([sys.executable, "-m", "whetstone_cli.cli.main", *words], check=True)
    return base


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", choices=[variant.key for variant in VARIANTS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of one thread each")
    parser.add_argument("--evaluate", type=int, default=100, help="episodes before and after")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--demonstrations", type=int, default=DEMONSTRATIONS, help="that the base learns from")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the base's training")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Makes what is missing."""
    args = parse(argv)
    folder = args.folder.resolve()
    try:
        plan = Plan(folder, evaluate=args.evaluate, model=make_base(folder, args.demonstrations, args.steps))
        cells = [
            Cell(TASK, variant, seed) for variant in VARIANTS if variant.key in args.variants for seed in args.seeds
        ]
        todo = missing(plan, cells)
        if any(cell.variant.shown for cell in todo):
            subprocess.run(plan.prepare(todo[0]), check=True)
    except subprocess.CalledProcessError as error:
        print(error, file=sys.stderr)
        return 1
    return 1 if run(plan, todo, args.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
