# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes the VLA of a training run on what the run has recorded, so that the rest of it goes on with a better base.

EXPO-FT does so all the time; here it is once, between two sessions of the stack, since a robot's computer of two cores
has none left for it while the arm moves.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from robot_bringup.cli import demos, jobs, screen
from robot_bringup.cli.errors import UserError

_MODEL, _RECORDINGS = "model", "mcap"


def recordings_of(folder: Path) -> Path:
    """Where a run keeps its episodes with their images."""
    return folder / _RECORDINGS


def model_of(folder: Path, begun_with: str) -> str:
    """Model directory that a run plays: its own as soon as there is one, until then the one it was begun with."""
    return str((folder / _MODEL).resolve()) if is_tuned(folder) else begun_with


def is_tuned(folder: Path) -> bool:
    """Whether a run has a model of its own."""
    return (folder / _MODEL).is_dir()


def tune(folder: Path, begun_with: str, robot: str) -> None:
    """Make the run's own model of the one it was begun with.

    Raises:
        UserError: There is nothing to learn from, or the model is not one that can be fine-tuned.
    """
    recordings = sorted(recordings_of(folder).glob("*.mcap"))
    if not recordings:
        raise UserError(f"nothing was recorded in {recordings_of(folder)}")
    with tempfile.TemporaryDirectory(prefix="dataset_", dir=folder) as made:
        dataset = Path(made) / "lerobot"
        with screen.console.status(f"{len(recordings)} episodes become a dataset"):
            demos.export(recordings, dataset, robot)
        jobs.finetune([dataset], folder / _MODEL, begun_with, robot)
