# SPDX-License-Identifier: Apache-2.0
"""Where a training run is kept."""

from __future__ import annotations

from pathlib import Path

from whetstone_common.core.parameters import ParameterError


def check_run(name: str) -> None:
    """Refuse a run that is no folder's name.

    Raises:
        ParameterError: It is not.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise ParameterError(f"run = {name!r}: must be the name of a folder")


def folder_of(directory: str, run: str) -> Path:
    """The run's own folder."""
    return Path(directory).expanduser() / run
