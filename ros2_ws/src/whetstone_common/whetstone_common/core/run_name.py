# SPDX-License-Identifier: Apache-2.0
"""Names of training runs: each is a folder, below the folder of all runs and nowhere else."""

from __future__ import annotations

from pathlib import Path


def run_name_problem(name: str, what: str = "run") -> str:
    """Why a run, or something else that is a folder, cannot have this name; empty when it can."""
    if name and Path(name).name == name and not name.startswith(".") and name.isprintable():
        return ""
    return f"{what} = {name!r}: must be the name of a folder, without / and with no dot first"
