# SPDX-License-Identifier: Apache-2.0
"""Cells of the matrix as processes, so many at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from curves import keep_points
from matrix import Cell, Plan, changed, curve_of, digest, read, row_of
from record import keep

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POLL_S, _END_S, _TAIL_LINES = 0.2, 10.0, 15


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
                [*_on_ray(plan.ray), *plan.command(cell, self.part)],
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
        keep(self.plan.record, [row_of(self.cell, result)])
        keep_points(self.plan.curves, curve_of(self.cell, result))
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


def _on_ray(address: str) -> list[str]:
    """What a command is put behind to be run by a cluster, nothing without an address."""
    return [sys.executable, str(Path(__file__).with_name("on_ray.py")), address, "--"] if address else []


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
