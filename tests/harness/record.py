# SPDX-License-Identifier: Apache-2.0
"""Measured numbers of each row, kept as JSON so that documents and trends are made from them."""

from __future__ import annotations

import fcntl
import json
import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "out" / "reliability"
# A run's first figure of a case replaces those of earlier runs, further ones are added. Its tests have processes and
# workers of their own, and all of them know this.
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid4().hex


def write_row(row: str, case: str, numbers: Mapping[str, float], *, ok: bool, folder: Path = FOLDER) -> Path:
    """Add one measurement of a case to the row's file, in place of those of earlier runs.

    Args:
        row: Number of the row, as in the document.
        case: What exactly was done, e.g. `kill9 vla_node`.
        numbers: Name with unit to value.
        ok: Whether the judges were content.
        folder: Where the files are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        # cases of one row may run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _add(folder / f"{row}.json", row, case, numbers, ok=ok)


def _add(path: Path, row: str, case: str, numbers: Mapping[str, float], *, ok: bool) -> Path:
    data: dict[str, Any] = {"row": row, "cases": {}}
    if path.exists():
        data = json.loads(path.read_text(encoding="utf-8"))
    if data.setdefault("runs", {}).get(case) != _RUN:
        data["cases"].pop(case, None)
        data["runs"][case] = _RUN
    runs = data["cases"].setdefault(case, {"ok": 0, "failed": 0, "numbers": {}})
    runs["ok" if ok else "failed"] += 1
    for name, value in numbers.items():
        runs["numbers"].setdefault(name, []).append(round(float(value), 5))
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def summary(values: list[float]) -> tuple[float, float, int]:
    """Median, largest, and number of measurements."""
    return statistics.median(values), max(values), len(values)
