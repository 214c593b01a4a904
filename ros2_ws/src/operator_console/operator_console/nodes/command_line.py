# SPDX-License-Identifier: Apache-2.0
"""The command line that runs and exports are started with, where it is installed."""

from __future__ import annotations

import importlib.util
import sys

_CLI = "whetstone_cli"
COMMAND = (sys.executable, "-m", f"{_CLI}.cli.main")


def cli_problem() -> str:
    """Why no run can be started on this computer; empty when one can."""
    if importlib.util.find_spec(_CLI) is not None:
        return ""
    return (
        f"the package {_CLI} is not installed on this computer: start the run where the learner is, by whetstone train"
    )
