# SPDX-License-Identifier: Apache-2.0
"""Run rings of tests one after the other, each with its time limit, and sum up what happened.

`tools/run_tests.py unit node process learning`. A ring with no tests yet is said so; no test at all is a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NO_TESTS = 5  # pytest's exit code
INTERRUPT_S = 10.0  # how long pytest may sum up after Ctrl-C


@dataclass(frozen=True)
class Ring:
    """One ring: how long a test, and all of it, may take, on how many workers it runs, and further folders of it."""

    test_s: int
    ring_s: int
    workers: int
    further: tuple[str, ...] = ()


RINGS = {
    "unit": Ring(test_s=120, ring_s=1500, workers=2, further=("conformance",)),
    "node": Ring(test_s=120, ring_s=900, workers=1),
    # mostly they wait; how many run at once, each says by its share of the cores (tests/harness/cores.py)
    "process": Ring(test_s=300, ring_s=3300, workers=4),
    "learning": Ring(test_s=900, ring_s=2000, workers=1),
}


@dataclass
class Sum:
    """Counts over all rings."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, report: Path) -> None:
        """Add what pytest wrote to a JUnit file."""
        if not report.is_file():
            return
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped = int(suite.get("skipped", 0))
            self.failed += bad
            self.skipped += skipped
            self.passed += int(suite.get("tests", 0)) - bad - skipped


def run_ring(name: str, further: list[str], total: Sum) -> bool:
    """Run one ring; say whether it passed."""
    if not any((ROOT / "tests" / name).rglob("test_*.py")):
        print(f"== ring {name}: no tests", flush=True)
        return True
    print(f"== ring {name}", flush=True)
    count = Sum()
    code = run_pytest(name, further, count)
    total.passed += count.passed
    total.failed += count.failed
    total.skipped += count.skipped
    return code in (0, NO_TESTS)


def run_pytest(name: str, further: list[str], count: Sum) -> int:
    """Run pytest on a ring's folder; its exit code."""
    ring = RINGS[name]
    report = ROOT / "out" / f"junit-{name}.xml"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    # waiting for a share of the cores is no time of the test
    workers = (
        ["-n", str(ring.workers), "--dist", "worksteal", "-o", "timeout_func_only=true"] if ring.workers > 1 else []
    )
    folders = [str(ROOT / "tests" / each) for each in (name, *ring.further)]
    argv = [sys.executable, "-m", "pytest", *folders, "-q", f"--timeout={ring.test_s}", f"--junitxml={report}"]
    begin_s = time.monotonic()
    try:
        code = run_group([*argv, *workers, *further], ring.ring_s)
    except subprocess.TimeoutExpired:
        print(f"== ring {name}: stopped after its limit of {ring.ring_s} s", flush=True)
        code = 1
    count.add(report)
    print(f"== ring {name}: {time.monotonic() - begin_s:.0f} s", flush=True)
    return code


def run_group(argv: list[str], limit_s: float) -> int:
    """Run a command in a process group of its own; nothing of the group outlives this call.

    Raises:
        subprocess.TimeoutExpired: It took longer than `limit_s`.
    """
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(limit_s)
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGINT)
            process.wait(INTERRUPT_S)
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> int:
    """Run the rings that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rings", nargs="+", choices=sorted(RINGS))
    arguments, further = parser.parse_known_args()
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".hypothesis"))
    # Being terminated must end the group as well, as Ctrl-C does. A shell starts what it puts into the background with
    # Ctrl-C ignored; every process would inherit that, and the tests of it would fail there only.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    total = Sum()
    results = [run_ring(name, further, total) for name in arguments.rings]
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)
    return 0 if all(results) and total.failed == 0 and total.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
