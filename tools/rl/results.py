# SPDX-License-Identifier: Apache-2.0
"""EXPO, DSRL and their ablations: runs what is missing of the matrix, then writes the table and the picture.

`results.py [--only pick_place/expo,insert/dsrl] [--report-only] [--quick]`. A run is kept as long as what it was made
with is what it would be made with now: recipe, candidates, seed, evaluated episodes and model. A change of the code is
not seen: remove the folder of results after one that matters.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rl_learner.core.recipe import differences, read_recipe
from robot_bringup.core.statistics import Rate, wilson

ROOT = Path(__file__).resolve().parents[2]
METHODS = ROOT / "ros2_ws" / "src" / "rl_learner" / "config" / "methods"
MODEL = ROOT / "ros2_ws" / "src" / "vla_policy" / "models" / "pocket"
PAGE, PICTURE = ROOT / "docs" / "reference" / "results.md", ROOT / "docs" / "images" / "results.png"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
TASKS, SEEDS = ("pick_place", "insert"), (0, 1, 2)
QUICK = {"schedule": {"most_steps": 1500, "base_episodes": 10}}
LAST = 20  # episodes that a point of the training curve looks back on
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POLL_S, _END_S, _TAIL_LINES = 0.2, 10.0, 15
# Okabe and Ito's colours, which differ for every kind of colour vision
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"

_COLUMNS = (
    "task", "variant", "seeds", "before", "after, by seed", "mean", "95 % interval", "by a person", "robot steps",
    "updates",
)  # fmt: skip
_HEAD = """## Ablations

Written by `make results`, which makes the runs that are missing; a dash is a run that has not been made. A part of it
is made by `make results ARGS="--only pick_place/expo"`. All in process. EXPO and DSRL are as in `config/methods/`, with
N = 8 candidates and 40 demonstrations; every other row is EXPO with one thing changed.

Before is the base, after is a run, both alone and without exploration on the scenes 0 to {last}. The interval is
Wilson's over the episodes of all seeds as if they were independent. They share their scenes and each seed is one run,
so other seeds scatter more than it says. By a person is the share of the steps in training; it, robot steps and updates
are means over the seeds.
"""
Blocks = Mapping[str, Mapping[str, Any]]
Result = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A method with what is changed of it.

    Attributes:
        key: Names its folder.
        title: Names it to readers.
        method: File in `config/methods`.
        candidates: N, proposals of the VLA per decision.
        changes: Block, then key, then value; on top of the method's file.
        shown: Whether it knows demonstrations from the start.
    """

    key: str
    title: str
    method: str = "expo"
    candidates: int = 8
    changes: Blocks = field(default_factory=dict)
    shown: bool = True


def _among(n: int) -> Variant:
    """EXPO that chooses among N candidates, and backs up over no more than there are."""
    return Variant(f"n_{n}", f"N = {n}", candidates=n, changes={"expo": {"best_of": n, "backup_candidates": min(4, n)}})


VARIANTS = (
    Variant("expo", "EXPO"),
    Variant("no_demonstrations", "no demonstrations", shown=False),
    Variant("no_intervention", "no intervention", changes={"schedule": {"interventions": False}}),
    Variant("no_edit_policy", "no edit policy", changes={"expo": {"edit": False}}),
    Variant("no_otf_backup", "no on-the-fly backup", changes={"expo": {"otf_backup": False}}),
    _among(1),
    _among(4),
    _among(16),
    Variant("dsrl", "DSRL", method="dsrl"),
)


@dataclass(frozen=True)
class Cell:
    """One run of the matrix."""

    task: str
    variant: Variant
    seed: int

    @property
    def name(self) -> str:
        """As `--only` knows it, and where its result lies."""
        return f"{self.task}/{self.variant.key}/{self.seed}"


# The tasks take turns, so that two jobs do not both evaluate a task's base; a first seed of all comes before a second.
MATRIX = tuple(Cell(task, variant, seed) for seed in SEEDS for variant in VARIANTS for task in TASKS)


@dataclass(frozen=True)
class Plan:
    """What all runs have in common.

    Attributes:
        folder: Of results and logs.
        evaluate: Episodes before and after.
        changes: Of every recipe.
        model: Directory of the VLA.
        trainer: Script that makes a run.
    """

    folder: Path = ROOT / "runs" / "results"
    evaluate: int = 100
    changes: Blocks = field(default_factory=dict)
    model: Path = MODEL
    trainer: Path = ROOT / "tools" / "rl" / "train.py"

    def file(self, cell: Cell) -> Path:
        """Where a cell's result lies."""
        return self.folder / f"{cell.name}.json"

    def blocks(self, cell: Cell) -> dict[str, dict[str, Any]]:
        """What is changed of the method's file."""
        merged = {name: dict(block) for name, block in cell.variant.changes.items()}
        for name, block in self.changes.items():
            merged.setdefault(name, {}).update(block)
        return merged

    def wanted(self, cell: Cell) -> dict[str, Any]:
        """What a result must say of itself to be the cell's."""
        recipe = read_recipe(METHODS / f"{cell.variant.method}.yaml", self.blocks(cell))
        return {
            "task": cell.task, "method": recipe.method, "seed": cell.seed, "candidates": cell.variant.candidates,
            "prior": str(self.prior(cell)) if cell.variant.shown else "",
            "evaluated": self.evaluate, "model": digest(self.model),
            "recipe": json.loads(json.dumps(recipe.resolved())),
        }  # fmt: skip

    def prior(self, cell: Cell) -> Path:
        """Demonstrations of the cell's task, one folder for all of its runs."""
        return self.folder / cell.task / "demonstrations"

    def base(self, cell: Cell) -> Path:
        """The base's evaluation, shared by all runs that evaluate it alike; train.py takes the file at its word."""
        wanted = self.wanted(cell)
        alike = [wanted["model"], self.evaluate, wanted["recipe"][wanted["method"]].get("steps")]
        key = hashlib.sha256(json.dumps(alike).encode()).hexdigest()[:8]
        return self.folder / cell.task / f"base-{key}.json"

    def command(self, cell: Cell, out: Path) -> list[str]:
        """Makes the run."""
        blocks = self.blocks(cell).items()
        texts = [f"{name}.{key}={json.dumps(value)}" for name, block in blocks for key, value in block.items()]
        return [
            sys.executable, str(self.trainer), "--model", str(self.model),
            "--method", str(METHODS / f"{cell.variant.method}.yaml"), "--task", cell.task, "--seed", str(cell.seed),
            "--candidates", str(cell.variant.candidates), "--evaluate", str(self.evaluate),
            "--base-result", str(self.base(cell)), "--out", str(out),
            *(["--prior", str(self.prior(cell))] if cell.variant.shown else []),
            *(["--set", *texts] if texts else []),
        ]  # fmt: skip

    def prepare(self, cell: Cell) -> list[str]:
        """Makes the demonstrations where there are none yet."""
        script = self.trainer.with_name("demonstrations.py")
        return [
            sys.executable,
            str(script),
            "--model",
            str(self.model),
            "--task",
            cell.task,
            "--out",
            str(self.prior(cell)),
        ]


def digest(model: Path) -> str:
    """Of the list of a model's files, which has the hash of each."""
    return hashlib.sha256((model / "manifest.json").read_bytes()).hexdigest()


def read(path: Path) -> Result | None:
    """A result, or nothing where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def changed(plan: Plan, cell: Cell, result: Result) -> list[str]:
    """What a result was made with and would not be made with now."""
    wanted = plan.wanted(cell)
    made = {name: result.get(name) for name in wanted}
    made["prior"] = result.get("prior", "")
    made["evaluated"] = result.get("after", {}).get("episodes")
    return differences(made, wanted)


def current(plan: Plan, cell: Cell) -> Result | None:
    """A cell's result if it stands for today's recipe."""
    result = read(plan.file(cell))
    return None if result is None or changed(plan, cell, result) else result


class Job:
    """A cell that is being run.

    Args:
        plan: What all have in common.
        cell: Which.
    """

    def __init__(self, plan: Plan, cell: Cell) -> None:
        self.plan, self.cell, self.file = plan, cell, plan.file(cell)
        self.log, self.part = self.file.with_suffix(".log"), self.file.with_suffix(".json.part")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.part.unlink(missing_ok=True)
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                plan.command(cell, self.part),
                env=os.environ | dict.fromkeys(_THREADS, "1"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def problem(self) -> str:
        """Keeps the result of a process that has ended, or says why there is none."""
        if self.process.returncode != 0:
            return f"exit code {self.process.returncode}, {self.tail()}"
        result = read(self.part)
        if result is None:
            return f"no result, {self.tail()}"
        result["model"] = digest(self.plan.model)
        if found := changed(self.plan, self.cell, result):
            return f"not the run that was asked for: {'; '.join(found)}"
        self.part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        os.replace(self.part, self.file)
        return ""

    def tail(self) -> str:
        """The end of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n    ".join([f"end of {self.log}:", *lines])

    def stop(self) -> None:
        """Ends the process if it still runs."""
        self.process.terminate()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()


def run(plan: Plan, cells: Iterable[Cell], jobs: int) -> list[str]:
    """Runs cells, so many at a time; returns the names of those that failed."""
    waiting, running, failed = list(cells), list[Job](), list[str]()
    count, done = len(waiting), 0
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Job(plan, waiting.pop(0)))
            time.sleep(_POLL_S)
            for job in [each for each in running if each.process.poll() is not None]:
                running.remove(job)
                done += 1
                problem = job.problem()
                failed += [job.cell.name] if problem else []
                print(f"[{done}/{count}] {job.cell.name}: {f'FAILED, {problem}' if problem else 'done'}", flush=True)
    finally:
        for job in running:
            job.stop()
    return failed


def missing(plan: Plan, cells: Iterable[Cell]) -> list[Cell]:
    """Cells that have no result that stands; says why those are run again that have one."""
    found = []
    for cell in cells:
        result = read(plan.file(cell))
        why = [] if result is None else changed(plan, cell, result)
        if why:
            print(f"{cell.name}: made with {'; '.join(why)}", flush=True)
        if result is None or why:
            found.append(cell)
    return found


@dataclass(frozen=True)
class Row:
    """A variant on a task.

    Attributes:
        task: Which.
        variant: Which.
        results: By seed, of those that have been run.
    """

    task: str
    variant: Variant
    results: Mapping[int, Result]

    @property
    def base(self) -> Rate:
        """Success before, which is evaluated once however many runs record it."""
        once = next(iter(self.results.values()))["before"]
        return wilson(once["successes"], once["episodes"])

    @property
    def rate(self) -> Rate:
        """Success after, of all seeds together."""
        found = [result["after"] for result in self.results.values()]
        return wilson(sum(each["successes"] for each in found), sum(each["episodes"] for each in found))

    def mean(self, name: str) -> float:
        """Of a figure over the seeds."""
        return float(np.mean([result[name] for result in self.results.values()]))

    def line(self) -> str:
        """Of the table."""
        start = f"| {self.task} | {self.variant.title} | {len(self.results)} of {len(SEEDS)} | "
        if not self.results:
            return start + "– | – | – | – | – | – | – |"
        each = " ".join(_share(self.results[seed]["after"]) if seed in self.results else "–" for seed in SEEDS)
        after = self.rate
        columns = [
            f"{self.base.rate:.2f}", each, f"{after.rate:.2f}", f"{after.low:.2f} to {after.high:.2f}",
            f"{self.mean('human_share'):.2f}", _spaced(self.mean("steps")), _spaced(self.mean("updates")),
        ]  # fmt: skip
        return f"{start}{' | '.join(columns)} |"


def _share(counts: Mapping[str, int]) -> str:
    return f"{counts['successes'] / counts['episodes']:.2f}"


def _spaced(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def rows(plan: Plan) -> list[Row]:
    """The whole matrix, with the results that stand."""
    table = []
    for task in TASKS:
        for variant in VARIANTS:
            found = {seed: current(plan, Cell(task, variant, seed)) for seed in SEEDS}
            table.append(Row(task, variant, {seed: result for seed, result in found.items() if result is not None}))
    return table


def block(plan: Plan, table: Sequence[Row], picture: str) -> str:
    """What stands between the markers.

    Args:
        plan: What the runs have in common.
        table: Its rows.
        picture: Link to the picture, empty when there is none.
    """
    lines = [BEGIN, _HEAD.format(last=plan.evaluate - 1)]
    if any(row.results for row in table):
        lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}", *(row.line() for row in table)]
    else:
        lines += ["No run has been made yet."]
    if picture:
        lines += ["", f"![Success of every variant, and of EXPO while it trains]({picture})"]
    return "\n".join([*lines, END])


def replace_block(text: str, new: str) -> str:
    """A page with its block renewed, or added at its end.

    Raises:
        ValueError: The markers are not one pair in order.
    """
    if BEGIN not in text and END not in text:
        return f"{text.rstrip()}\n\n{new}\n".lstrip()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"expected one {BEGIN} with one {END} behind it")
    return f"{before}{new}{after}"


def training_curve(result: Result) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Robot steps, and over the last episodes success and success without help.

    The steps of a run are spread evenly over its episodes where their ticks are not recorded.
    """
    won, helped = np.asarray(result["successes"], bool), np.asarray(result["helped"], bool)
    ticks = result.get("ticks") or np.full(len(won), result["steps"] / max(1, len(won)))
    ends = range(min(LAST, len(won)), len(won) + 1)

    def share(values: np.ndarray) -> np.ndarray:
        return np.array([values[max(0, end - LAST) : end].mean() for end in ends])

    return np.cumsum(ticks)[[end - 1 for end in ends]], share(won), share(won & ~helped)


def draw(path: Path, table: Sequence[Row]) -> None:
    """Success of every variant, and of EXPO as shipped while it trains; written as a whole or not at all."""
    # Imported here: a run needs none of it.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(TASKS), figsize=(9.0, 7.0), height_ratios=(3, 2), sharey="row", squeeze=False, layout="constrained"
    )
    for column, task in enumerate(TASKS):
        mine = [row for row in table if row.task == task]
        _draw_variants(axes[0][column], task, mine)
        _draw_training(axes[1][column], mine)
    axes[0][0].invert_yaxis()
    named = [panel.get_legend_handles_labels() for panel in axes.flat]
    once = {label: handle for handles, labels in named for handle, label in zip(handles, labels, strict=True)}
    figure.legend(list(once.values()), list(once), loc="outside lower center", ncols=3, fontsize=9)
    axes[1][0].set_ylabel(f"EXPO in training,\nlast {LAST} episodes")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    figure.savefig(partial, dpi=100, format="png", pil_kwargs={"optimize": True})
    pyplot.close(figure)
    os.replace(partial, path)


def _draw_variants(axes: Any, task: str, table: Sequence[Row]) -> None:
    measured = [(place, row) for place, row in enumerate(table) if row.results]
    if measured:
        base = measured[0][1].base
        axes.axvspan(base.low, base.high, color=_GREY, alpha=0.12, linewidth=0)
        axes.axvline(base.rate, color=_GREY, linestyle="--", label="base, 95 % interval")
    for place, row in measured:
        rate = row.rate
        seeds = [each["after"]["successes"] / each["after"]["episodes"] for each in row.results.values()]
        axes.plot([rate.low, rate.high], [place, place], color=_BLUE, linewidth=2.5, solid_capstyle="butt")
        axes.plot(seeds, [place] * len(seeds), "|", color=_ORANGE, markersize=13, markeredgewidth=2, label="each seed")
        axes.plot(rate.rate, place, "o", color=_BLUE, markersize=8, label="all seeds, 95 % interval")
    for place in sorted(set(range(len(table))) - {place for place, _ in measured}):
        axes.text(0.02, place, "not run", color=_GREY, fontsize=8, va="center")
    axes.set_yticks(range(len(table)), [row.variant.title for row in table])
    axes.set_xlim(0.0, 1.0)
    axes.set_title(task)
    axes.set_xlabel("success after training")
    axes.grid(axis="x", alpha=0.3)


def _draw_training(axes: Any, table: Sequence[Row]) -> None:
    shipped = next(row for row in table if row.variant is VARIANTS[0])
    curves = [training_curve(result) for result in shipped.results.values()]
    if curves:
        grid = np.linspace(max(curve[0][0] for curve in curves), min(curve[0][-1] for curve in curves), 200)
        for steps, _, alone in curves:
            axes.plot(steps, alone, color=_BLUE, alpha=0.35, linewidth=1)
        for index, colour, style, label in (
            (1, _ORANGE, "-.", "in training, with a person's help"),
            (2, _BLUE, "-", "in training, without help"),
        ):
            mean = np.mean([np.interp(grid, curve[0], curve[index]) for curve in curves], axis=0)
            axes.plot(grid, mean, style, color=colour, linewidth=2, label=label)
        axes.axhline(shipped.base.rate, color=_GREY, linestyle="--")
    else:
        axes.text(0.5, 0.5, "not run", color=_GREY, fontsize=8, ha="center", va="center", transform=axes.transAxes)
    axes.set_ylim(0.0, 1.05)
    axes.set_xlabel("robot steps in training")
    axes.grid(alpha=0.3)


def report(plan: Plan, page: Path, picture: Path) -> None:
    """Prints the table, and writes it and the picture."""
    table = rows(plan)
    measured = any(row.results for row in table)
    if measured:
        draw(picture, table)
    link = os.path.relpath(picture, page.parent) if measured else ""
    new = block(plan, table, link)
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(replace_block(text, new), encoding="utf-8")
    print(new)
    print(f"wrote {page}{f' and {picture}' if measured else ''}")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="parts of task/variant/seed, with commas: pick_place/expo,dsrl")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--evaluate", type=int, default=None, help="episodes before and after, 100 if not --quick")
    parser.add_argument("--report-only", action="store_true", help="table and picture of what there is")
    parser.add_argument("--quick", action="store_true", help="try the whole with short runs, in a folder of their own")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is missing and reports."""
    args = parse(argv)
    plan, page, picture = Plan(evaluate=args.evaluate or 100), PAGE, PICTURE
    if args.quick:
        plan = Plan(ROOT / "runs" / "results-quick", evaluate=args.evaluate or 10, changes=QUICK)
        page, picture = plan.folder / "results.md", plan.folder / "results.png"
    parts = args.only.split(",")
    cells = [cell for cell in MATRIX if any(part in cell.name for part in parts)]
    if not cells:
        print(f"no run matches {args.only!r}; there are {', '.join(cell.name for cell in MATRIX)}")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no run outlives this
    failed: list[str] = []
    if not args.report_only:
        todo = missing(plan, cells)
        print(f"{len(todo)} of {len(cells)} to run, {args.jobs} at a time; logs beside the results in {plan.folder}")
        for cell in {cell.task: cell for cell in todo if cell.variant.shown}.values():
            subprocess.run(plan.prepare(cell), check=True)
        failed = run(plan, todo, max(1, args.jobs))
    report(plan, page, picture)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
