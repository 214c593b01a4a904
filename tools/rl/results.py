# SPDX-License-Identifier: Apache-2.0
"""Every online method and the ablations: runs what is missing of the matrix, then writes record, table and picture.

`results.py [--only pick_place/expo,insert/dsrl] [--report-only] [--quick] [--ray auto]`. A run that is in the record
(docs/reference/results.csv) is not made again: remove its row to have it made anew. A result on this machine that was
made with other settings, candidates, episodes or model than today's is made again. With `--ray` each run is a task of
one CPU on some machine of the cluster, which has this checkout, its .venv and the results' folder at the same path.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence

from jobs import run
from matrix import MATRIX, ROOT, Plan, missing
from report import report

from whetstone_common.core.ray_cluster import connect, cpus_of

PAGE, PICTURE = ROOT / "docs" / "reference" / "results.md", ROOT / "docs" / "images" / "results.png"
_JOBS = 2
QUICK = {"schedule": {"most_steps": 1500, "base_episodes": 10}}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="parts of task/variant/seed, with commas: pick_place/expo,dsrl")
    parser.add_argument(
        "--jobs", type=int, default=0, help="runs at a time, of one thread each; 0 for 2, or for the CPUs of --ray"
    )
    parser.add_argument("--ray", default="", help="Ray cluster that makes the runs: auto, HOST:PORT")
    parser.add_argument("--evaluate", type=int, default=None, help="episodes before and after, 100 if not --quick")
    parser.add_argument("--report-only", action="store_true", help="table and picture of what there is")
    parser.add_argument("--quick", action="store_true", help="try the whole with short runs, in a folder of their own")
    return parser.parse_args(argv)


def at_once(args: argparse.Namespace) -> int:
    """How many runs, after a look whether the cluster is there; raises as `connect`."""
    if not args.ray:
        return args.jobs or _JOBS
    ray = connect(args.ray)
    count = args.jobs or cpus_of(ray)
    ray.shutdown()
    return count


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is missing and reports."""
    args = parse(argv)
    plan, page, picture = Plan(evaluate=args.evaluate or 100, ray=args.ray), PAGE, PICTURE
    if args.quick:
        folder = ROOT / "runs" / "results-quick"
        plan = Plan(folder, evaluate=args.evaluate or 10, changes=QUICK, record=folder / "results.csv", ray=args.ray)
        page, picture = plan.folder / "results.md", plan.folder / "results.png"
    parts = args.only.split(",")
    cells = [cell for cell in MATRIX if any(part in cell.name for part in parts)]
    if not cells:
        print(f"no run matches {args.only!r}; there are {', '.join(cell.name for cell in MATRIX)}")
        return 2
    try:
        jobs = 0 if args.report_only else max(1, at_once(args))
    except (ValueError, RuntimeError) as error:
        print(error)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no run outlives this
    failed: list[str] = []
    if not args.report_only:
        todo = missing(plan, cells)
        print(f"{len(todo)} of {len(cells)} to run, {jobs} at a time; logs beside the results in {plan.folder}")
        for cell in {cell.task: cell for cell in todo if cell.variant.shown}.values():
            subprocess.run(plan.prepare(cell), check=True)
        failed = run(plan, todo, jobs)
    report(plan, page, picture)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
