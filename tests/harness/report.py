# SPDX-License-Identifier: Apache-2.0
"""Writes docs/reference/reliability.md from what the process tests measured: `python -m harness.report` in tests/."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from harness.matrix import ROWS, Row
from harness.record import FOLDER, ROOT, summary

PAGE = ROOT / "docs" / "reference" / "reliability.md"
_UNITS = {"s": "s", "rad": "rad", "mb": "MB", "s2": "rad/s²"}
_SHOWN = (
    "policy_lost_s", "drive_standstill_s", "drive_stop_s", "takeover_s", "largest_step_rad", "first_command_off_rad",
    "backward_step_rad", "longest_gap_s", "worst_skew_s", "memory_grown_mb", "exit_s",
)  # fmt: skip
_HEAD = """# What survives, and how fast the arm stops

This page is generated: `make reliability` runs the fault rows, and `python -m harness.report` (in `tests/`) writes
what they measured. Do not edit it by hand.

Each row is a fault that is done to real processes: the node under test, a fake arm whose drives keep an append-only log
with the monotonic clock, fake cameras and a fake person, or the whole ring around a null model. The log is the judge,
not the topics. Five judges decide:

- **stop**: from the fault to the last command that is not part of a hold ramp, and to the last change of any
  command (standstill). Allowed: what may still play of the chunk in hand, plus 0.10 s and one control period, times two
  on a shared machine; no step above the limit; never a value that is not finite.
- **ledger**: nothing sent is lost, nothing is stored twice.
- **reason**: the node says why, by an enum, within a second, and a counter rises.
- **clean**: afterwards no process, no file and no shared memory is left.
- **equal**: what is restored has the hashes of what was saved.

Every row also has a **mutation**: the same fault with one protection removed must make the row fail.

`stop` counts from the moment of the fault. Where a chunk is in hand it may play for up to 0.3 s in these tests
(`chunk_open_loop_s`), and a camera may be silent for 0.15 s (`obs_max_age_s`) before that.
"""
_TAIL = """
## What these tests do not prove

- One machine, one kernel: no real network loss, no switch, no camera driver, no radio.
- The fake arm has no dynamics: holding is judged on commands, not on forces. The robot's own controller remains the
  protection of people; nothing here is a certified safety function.
- Python on a general kernel: a measured time is not a hard bound. The hard bound belongs to the robot's controller.
- The fakes speak the messages of real drivers, not their mistakes.
"""


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Row number to its measured cases."""
    files = sorted(folder.glob("*.json"))
    return {data["row"]: data["cases"] for data in (json.loads(f.read_text(encoding="utf-8")) for f in files)}


def page(measured: dict[str, dict[str, Any]]) -> str:
    """The whole page in Markdown."""
    lines = [_HEAD, "## Rows\n", "| row | fault | promise | where it is tried |", "|---|---|---|---|"]
    lines += [f"| {row.number} | {row.fault} | {row.promise} | {_tests(row)} |" for row in ROWS]
    lines += [
        "\n## Measured\n",
        f"Machine: {platform.machine()}, {platform.system()}; times in seconds, median / worst.\n",
    ]
    lines += [
        "| row | case | runs | kept | stop | allowed | standstill | reason | other |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        lines += [_measured(row.number, name, case) for name, case in sorted(measured.get(row.number, {}).items())]
    return "\n".join(lines) + "\n" + _TAIL


def _tests(row: Row) -> str:
    return ", ".join(f"`{path}`" for path in row.tests)


def _measured(number: str, name: str, case: dict[str, Any]) -> str:
    numbers = dict(case["numbers"])
    allowed = max(numbers.get("allowed_stop_s", [0.0]))
    columns = [_pair(numbers.pop(key, [])) for key in ("stop_s", "standstill_s", "reason_s")]
    columns.insert(1, f"{allowed:.3g}" if allowed else "–")
    rest = [f"{_words(key)} {_pair(numbers[key])}{_unit(key)}" for key in _SHOWN if key in numbers]
    runs = case["ok"] + case["failed"]
    return f"| {number} | {name} | {runs} | {case['ok']} | {' | '.join(columns)} | {'; '.join(rest)} |"


def _pair(values: list[float]) -> str:
    if not values:
        return "–"
    median, worst, _ = summary(values)
    return f"{median:.3g} / {worst:.3g}"


def _words(key: str) -> str:
    return key.rpartition("_")[0].replace("_", " ")


def _unit(key: str) -> str:
    return " " + _UNITS[key.rpartition("_")[2]]


def main() -> None:
    """Write the page and one file with all rows for machines."""
    measured = load(FOLDER)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(measured), encoding="utf-8")
    target = FOLDER.parent / "reliability.json"
    target.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"wrote {PAGE} and {target}")


if __name__ == "__main__":
    main()
