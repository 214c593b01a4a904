# SPDX-License-Identifier: Apache-2.0
"""All benchmarks: `python bench/run.py --json out/bench.json [--only serving,arm] [--quick] [--docs]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for folder in (ROOT / "tests", ROOT / "bench"):
    sys.path.insert(0, str(folder))

import arm  # noqa: E402
import learner  # noqa: E402
import lockstep  # noqa: E402
import memory  # noqa: E402
import model  # noqa: E402
import page  # noqa: E402
import rollout_workers  # noqa: E402
import serving  # noqa: E402
import several_robots  # noqa: E402
import viewers  # noqa: E402
import vla_sizes  # noqa: E402
import weights  # noqa: E402
from figures import Figure, table, write_json  # noqa: E402
from machine import describe  # noqa: E402

DOCS = ROOT / "docs" / "reference" / "performance.md"


def main() -> None:
    """Run what was asked for, print it, and write it down."""
    options = _options()
    quick = options.quick
    directory = options.model or model.shipped_model()
    has_model = (directory / "config.json").is_file()
    benchmarks: dict[str, Callable[[], list[Figure]]] = {
        "serving": lambda: serving.run(laps=60 if quick else 400),
        "arm": lambda: arm.run(seconds=5.0 if quick else 20.0),
        "weights": lambda: weights.run(swaps=10 if quick else 50),
        "learner": lambda: learner.run(repeats=20 if quick else 100),
        "lockstep": lambda: lockstep.run(directory if has_model else None, ticks=200 if quick else 1000),
        "viewers": lambda: viewers.run(laps=60 if quick else 400),
        "rollout_workers": lambda: rollout_workers.run(episodes=2 if quick else 8, repeats=3 if quick else 7),
        "vla_sizes": lambda: vla_sizes.run(("tiny",) if quick else ()),
    }
    benchmarks["memory"] = lambda: memory.run(directory if has_model else None)
    if has_model:
        benchmarks["model"] = lambda: model.run(directory, repeats=10 if quick else 50)
        if find_spec("openpi_client") is not None:
            benchmarks["remote"] = lambda: import_module("remote").run(directory, repeats=50 if quick else 500)
        benchmarks["several_robots"] = lambda: several_robots.run(
            directory, seconds=6.0 if quick else 30.0, counts=(1, 4) if quick else several_robots.COUNTS
        )
    machine = describe() | ({"conditions": options.note} if options.note else {})
    figures: list[Figure] = []
    for name in options.only or benchmarks:
        print(f"--- {name}", flush=True)
        found = benchmarks[name]()
        print(table(found), flush=True)
        figures += found
    _write(options, machine, figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--only", type=lambda text: text.split(","), help="which of them, by name")
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument(
        "--docs", action="store_true", help=f"rewrite {DOCS.relative_to(ROOT)}, or sections of it with --only"
    )
    parser.add_argument("--note", default="", help="conditions worth knowing, written beside the machine")
    parser.add_argument("--model", type=Path, help="directory of a pocket VLA, the shipped one by default")
    return parser.parse_args()


def _kept(path: Path | None, fresh: list[Figure]) -> list[Figure]:
    """Figures of an earlier run whose benchmark was not run this time."""
    if path is None or not path.is_file():
        return []
    groups = {figure.group for figure in fresh}
    earlier = [Figure.from_json(entry) for entry in json.loads(path.read_text(encoding="utf-8"))["figures"]]
    return [figure for figure in earlier if figure.group not in groups]


def _write(options: argparse.Namespace, machine: dict[str, str], measured: list[Figure]) -> None:
    figures = [*_kept(options.json if options.only else None, measured), *measured]
    if options.json is not None:
        write_json(options.json, machine, figures)
    if options.docs:
        DOCS.parent.mkdir(parents=True, exist_ok=True)
        is_partial = options.only is not None and DOCS.is_file()
        text = (
            page.with_sections(DOCS.read_text(encoding="utf-8"), _command(options) | machine, measured)
            if is_partial
            else page.whole(machine, figures)
        )
        DOCS.write_text(text, encoding="utf-8")


def _command(options: argparse.Namespace) -> dict[str, str]:
    words = ["python bench/run.py --only", ",".join(options.only), *(["--quick"] if options.quick else [])]
    return {"command": f"`{' '.join(words)}`"}


if __name__ == "__main__":
    main()
