# SPDX-License-Identifier: Apache-2.0
"""The matrix of EXPO, DSRL and their ablations: its cells, what a run of each is made with, and which still stand."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl_learner.core.recipe import differences, read_recipe

ROOT = Path(__file__).resolve().parents[2]
METHODS = ROOT / "ros2_ws" / "src" / "rl_learner" / "config" / "methods"
MODEL = ROOT / "ros2_ws" / "src" / "vla_policy" / "models" / "pocket"
TASKS, SEEDS = ("pick_place", "insert"), (0, 1, 2)
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
    Variant("no_edit_policy", "no edit policy", changes={"expo": {"edit": False}}),
    Variant("no_otf_backup", "no on-the-fly backup", changes={"expo": {"otf_backup": False}}),
    _among(1),
    _among(4),
    _among(16),
    Variant("dsrl", "DSRL", method="dsrl"),
    Variant("no_intervention", "no intervention", changes={"schedule": {"interventions": False}}),
    Variant("no_demonstrations", "no demonstrations", shown=False),
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
        script = str(self.trainer.with_name("demonstrations.py"))
        return [
            sys.executable, script, "--model", str(self.model), "--task", cell.task, "--out", str(self.prior(cell)),
        ]  # fmt: skip


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
