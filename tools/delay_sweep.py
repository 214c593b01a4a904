# SPDX-License-Identifier: Apache-2.0
"""What latency costs each execution mode: success, time to success and jumps at chunk boundaries, through the graph.

`delay_sweep.py [--delays 0,2,4,8] [--episodes 20] [--out out/delay]`: lockstep, so that a delay of d control steps is
the same on every machine. Writes delay.csv and delay.png; a combination whose row is there is not run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from whetstone_cli.cli.evaluate import EvalOptions, EvalOutputs, run
from whetstone_cli.cli.options import StackOptions

MODES = ("sync", "async", "rtc")
CONTROL_S = 0.05


@dataclass(frozen=True)
class Point:
    """One mode at one delay.

    Attributes:
        execution: Mode.
        delay_ms: Injected latency.
        episodes: Judged.
        success: Share of them.
        steps: Mean control steps of the successes.
        jump: Median over chunk boundaries of the largest joint acceleration there [rad/s^2].
        within: The same between boundaries.
    """

    execution: str
    delay_ms: float
    episodes: int
    success: float
    steps: float
    jump: float
    within: float


def accelerations(log: Path) -> tuple[np.ndarray, np.ndarray]:
    """Largest joint acceleration [rad/s^2] of each control step at chunk boundaries, and elsewhere."""
    at: list[float] = []
    elsewhere: list[float] = []
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for before, last, now in zip(lines, lines[1:], lines[2:], strict=False):
        if len({(line["episode"], line["source"]) for line in (before, last, now)}) > 1 or now["source"] != "policy":
            continue
        joints = np.array([line["q"][:7] for line in (before, last, now)])
        size = float(np.abs(joints[2] - 2.0 * joints[1] + joints[0]).max()) / CONTROL_S**2
        (at if now["request"] != last["request"] else elsewhere).append(size)
    return np.array(at), np.array(elsewhere)


def measure(execution: str, delay: int, episodes: int, folder: Path) -> Point:
    """Play episodes, and read the log of commands."""
    name = f"{execution}-{delay}"
    experiment, log = folder / f"{name}.yaml", folder / f"{name}.jsonl"
    log.unlink(missing_ok=True)
    values = {"command_log": str(log)} | ({"lockstep_delay_steps": delay} if execution != "sync" else {})
    body = json.dumps({"/**/arm_node": {"ros__parameters": values}})  # JSON is YAML
    experiment.write_text(body + "\n", encoding="utf-8")
    extra = (("experiment", str(experiment)), ("command_log", str(log)))
    stack = StackOptions("pick_place", execution=execution, extra=extra)
    result = run(stack, EvalOptions(episodes), EvalOutputs(), attach=False, log=folder / f"{name}.log")
    won = [row.steps for row in result.judged if row.success]
    at, elsewhere = accelerations(log)
    return Point(
        execution, delay * CONTROL_S * 1e3, len(result.judged), len(won) / max(1, len(result.judged)),
        float(np.mean(won)) if won else float("nan"), float(np.median(at)), float(np.median(elsewhere)),
    )  # fmt: skip


def read(path: Path) -> list[Point]:
    """Points that were measured before."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        kinds = {"execution": str, "episodes": int}
        return [Point(**{k: kinds.get(k, float)(v) for k, v in row.items()}) for row in csv.DictReader(file)]


def write(path: Path, points: Iterable[Point]) -> None:
    """All points; as a whole or not at all."""
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Point)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(point) for point in points)
    os.replace(partial, path)


def draw(path: Path, points: Sequence[Point]) -> None:
    """Success, duration and jumps over the delay, a line per mode."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12.0, 3.6), layout="constrained")
    names = (("success", "success"), ("steps", "control steps of a success"), ("jump", "acceleration at boundaries"))
    for panel, (name, title) in zip(axes, names, strict=True):
        for mode in MODES:
            mine = sorted((p for p in points if p.execution == mode), key=lambda p: p.delay_ms)
            panel.plot([p.delay_ms for p in mine], [getattr(p, name) for p in mine], "o-", label=mode)
        panel.set_xlabel("delay [ms]")
        panel.set_title(title)
        panel.grid(alpha=0.3)
    axes[0].set_ylim(0.0, 1.05)
    axes[0].legend()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures what is missing, then draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delays", default="0,2,4,8", help="control steps of 50 ms, with commas")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("out") / "delay")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    record = args.out / "delay.csv"
    points = {(p.execution, p.delay_ms): p for p in read(record)}
    for delay in (int(text) for text in args.delays.split(",")):
        for mode in args.modes.split(","):
            # synchronous execution holds for as long as a reply takes, so in lockstep no delay reaches it
            if (mode, delay * CONTROL_S * 1e3) in points or (mode == "sync" and delay):
                continue
            point = measure(mode, delay, args.episodes, args.out.resolve())
            points[point.execution, point.delay_ms] = point
            print(point, flush=True)
            write(record, points.values())
    draw(args.out / "delay.png", list(points.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
