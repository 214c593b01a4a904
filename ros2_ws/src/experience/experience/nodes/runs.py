# SPDX-License-Identifier: Apache-2.0
"""Where a training run is kept."""

from __future__ import annotations

from pathlib import Path

from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.run_name import run_name_problem


def check_run(name: str) -> None:
    """Refuse a run that is no folder's name.

    Raises:
        ParameterError: It is not.
    """
    if problem := run_name_problem(name):
        raise ParameterError(problem)


def folder_of(directory: str, run: str) -> Path:
    """The run's own folder."""
    return Path(directory).expanduser() / run
