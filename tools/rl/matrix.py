# SPDX-License-Identifier: Apache-2.0
"""The matrix of runs: every online method with and without the operator, and ablations; which of them still stand."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curves import CurvePoint, points_of
from record import RunRow, read_rows

from rl_methods.config import differences, read_method_config
from rl_methods.registry import DEFAULT_ONLINE, online_methods, other_settings, settings_file

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "ros2_ws" / "src" / "vla_policy" / "models" / "pocket"
RECORD = ROOT / "docs" / "reference" / "results.csv"
TASKS, SEEDS = ("pick_place", "stack", "insert"), (0, 1, 2)
_DT_S = 0.05  # control period of the pocket VLA
Blocks = Mapping[str, Mapping[str, Any]]
Result = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A method with what is changed of it.

    Attributes:
        key: Names its folder.
        title: Names it to readers.
        method: Name in the registry.
        candidates: N, proposals of the VLA per decision.
        file: Name of another shipped file of the method, empty for its usual one.
        changes: Block, then key, then value; on top of the method's file.
        shown: Whether it knows demonstrations from the start.
        human: Whether the scripted operator helps.
    """

    key: str
    title: str
    method: str = DEFAULT_ONLINE
    candidates: int = 8
    file: str = ""
    changes: Blocks = field(default_factory=dict)
    shown: bool = True
    human: bool = True

    @property
    def settings(self) -> Path:
        """The method's file."""
        return other_settings(self.method)[self.file] if self.file else settings_file(self.method)


def _among(n: int) -> Variant:
    """EXPO that chooses among N candidates, and backs up over no more than there are."""
    return Variant(f"n_{n}", f"N = {n}", candidates=n, changes={"expo": {"best_of": n, "backup_candidates": min(4, n)}})


def _of(method: str) -> tuple[Variant, Variant]:
    """A method as shipped, with the operator and without."""
    alone = {"schedule": {"interventions": False}}
    return Variant(method, method, method), Variant(
        f"{method}_alone", f"{method} alone", method, changes=alone, human=False
    )


_SEES: Blocks = {"expo": {"encoder": "images"}}
# As published: the edit policy follows the critic alone. Narrow edits, for wide ones collapse (see results.md).
_CRITIC = "without_operator"
METHODS = tuple(variant for method in online_methods() for variant in _of(method))
ABLATIONS = (
    Variant("no_edit_policy", "no edit policy", changes={"expo": {"edit": False}}),
    Variant("no_otf_backup", "no on-the-fly backup", changes={"expo": {"otf_backup": False}}),
    _among(1),
    _among(4),
    _among(16),
    Variant("every_2", "windows at every 2nd step", changes={"schedule": {"query_every": 2}}),
    Variant("no_demonstrations", "no demonstrations", shown=False),
    Variant("images", "an image encoder of its own", changes=_SEES),
    Variant(
        "images_alone", "an image encoder of its own, alone",
        changes={**_SEES, "schedule": {"interventions": False}}, human=False,
    ),
    Variant(
        "pld_wide", "PLD, as wide as EXPO's edits", "pld",
        changes={"pld": {"xi": [0.5, 0.5, 1.5, 0.3, 0.3, 0.7, 2.0], "knots": 4}},
    ),
    Variant(
        "critic_driven", "driven by its critic",
        file=_CRITIC, changes={"schedule": {"interventions": True, "query_every": 0}},
    ),
    Variant(
        "critic_driven_alone", "driven by its critic, alone",
        file=_CRITIC, changes={"schedule": {"query_every": 0}}, human=False,
    ),
    Variant(
        "every_2_alone", "driven by its critic, windows at every 2nd step, alone", file=_CRITIC, human=False,
    ),
)  # fmt: skip
VARIANTS = (*METHODS, *ABLATIONS)


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

    @property
    def key(self) -> tuple[str, str, str, int, int, str]:
        """Of its row in the record."""
        variant = self.variant
        changed = "shipped" if variant in METHODS else variant.key
        return self.task, variant.method, changed, self.seed, int(variant.human), "process"

    def __hash__(self) -> int:
        """By its name: changes of a variant are no keys."""
        return hash(self.name)


def _in_order() -> tuple[Cell, ...]:
    """The methods on the first task with every seed, then on the others with one seed, then the rest."""
    first = [Cell(TASKS[0], variant, seed) for seed in SEEDS for variant in METHODS]
    second = [Cell(task, variant, SEEDS[0]) for variant in METHODS for task in TASKS[1:]]
    rest = [Cell(task, variant, seed) for seed in SEEDS for variant in VARIANTS for task in TASKS]
    return tuple(dict.fromkeys([*first, *second, *rest]))


@dataclass(frozen=True)
class Plan:
    """What all runs have in common.

    Attributes:
        folder: Of results and logs.
        evaluate: Episodes before and after.
        changes: Of every recipe.
        model: Directory of the VLA.
        trainer: Script that makes a run.
        record: File that keeps a row of each run.
        ray: Address of the Ray cluster whose machines make the runs, empty for this machine.
    """

    folder: Path = ROOT / "runs" / "results"
    evaluate: int = 100
    changes: Blocks = field(default_factory=dict)
    model: Path = MODEL
    trainer: Path = ROOT / "tools" / "rl" / "train.py"
    record: Path = RECORD
    ray: str = ""

    @property
    def curves(self) -> Path:
        """File that keeps the learning curves."""
        return self.record.with_name("curves.csv")

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
        recipe = read_method_config(cell.variant.settings, self.blocks(cell))
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
        alike = [wanted["model"], self.evaluate, wanted["recipe"]["schedule"]["execute_steps"]]
        key = hashlib.sha256(json.dumps(alike).encode()).hexdigest()[:8]
        return self.folder / cell.task / f"base-{key}.json"

    def command(self, cell: Cell, out: Path) -> list[str]:
        """Makes the run."""
        blocks = self.blocks(cell).items()
        texts = [f"{name}.{key}={json.dumps(value)}" for name, block in blocks for key, value in block.items()]
        return [
            sys.executable, str(self.trainer), "--model", str(self.model),
            "--method", str(cell.variant.settings), "--task", cell.task, "--seed", str(cell.seed),
            "--candidates", str(cell.variant.candidates), "--evaluate", str(self.evaluate),
            "--base-result", str(self.base(cell)), "--out", str(out),
            *(["--prior", str(self.prior(cell))] if cell.variant.shown else []),
            *(["--set", *texts] if texts else []),
        ]  # fmt: skip

    def prepare(self, cell: Cell) -> list[str]:
        """Makes the demonstrations where there are none yet."""
        script = str(self.trainer.with_name("demonstrations.py"))
        return [
            sys.executable, script, "--model", str(self.model), "--task", cell.task, "--out", str(self.prior(cell)),
        ]  # fmt: skip


MATRIX = _in_order()


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


def curve_of(cell: Cell, result: Result) -> list[CurvePoint]:
    """What the record keeps of a result's curve."""
    run = (cell.task, cell.variant.key, cell.seed, int(cell.variant.human))
    return points_of(run, result, result.get("dt_s", _DT_S))


def row_of(cell: Cell, result: Result) -> RunRow:
    """What the record keeps of a result."""
    task, method, variant, seed, human, where = cell.key
    before, after = result["before"], result["after"]
    return RunRow(
        task=task, method=method, variant=variant, seed=seed, human=human,
        base=before["successes"] / before["episodes"], after=after["successes"] / after["episodes"],
        episodes=after["episodes"], control_steps=result["steps"],
        robot_minutes=result.get("robot_minutes", round(result["steps"] * result.get("dt_s", _DT_S) / 60.0, 2)),
        human_fraction=result["human_share"], wall_s=result.get("train_s"), where=where,
    )  # fmt: skip


def recorded(plan: Plan) -> dict[tuple[str, str, str, int, int, str], RunRow]:
    """Rows of the record by the key of their run."""
    return {row.key: row for row in read_rows(plan.record)}


def missing(plan: Plan, cells: Iterable[Cell]) -> list[Cell]:
    """Cells that nobody has run, and those whose result on this machine was made otherwise; says why."""
    found, kept = [], recorded(plan)
    for cell in cells:
        result = read(plan.file(cell))
        why = [] if result is None else changed(plan, cell, result)
        if why:
            print(f"{cell.name}: made with {'; '.join(why)}", flush=True)
        if why or (result is None and cell.key not in kept):
            found.append(cell)
    return found
