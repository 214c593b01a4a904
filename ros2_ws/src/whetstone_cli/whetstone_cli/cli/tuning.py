# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes the VLA of a training run on what the run has recorded: half way, and at its end.

EXPO-FT does so all the time; here it is between two sessions of the stack, since a robot's computer of two cores
has none left for it while the arm moves. At the end it distils the run into a VLA that needs no small policy beside it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experience.core.recording.reader import RecordingError, recorded_metadata
from whetstone_cli.cli import jobs, screen
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.exporting import export_dataset
from whetstone_cli.core.training import TrainingLog
from whetstone_common.core.training_log import TrainingError

_MODEL, _DISTILLED, _RECORDINGS, _ROUNDS = "model", "distilled", "mcap", "rounds"
STEPS = 600  # of a fine-tuning
_AVERAGED = 3  # fine-tunings that a run is distilled by, while nobody waits for it


def recordings_of(folder: Path) -> Path:
    """Where a run keeps its episodes with their images."""
    return folder / _RECORDINGS


def own_recordings(folder: Path) -> list[Path]:
    """Recordings of a run's own episodes; what others have put beside them is left alone, and said."""
    try:
        played = TrainingLog(folder / "episodes.jsonl").episodes
    except TrainingError as error:
        raise UserError(str(error)) from error
    known = {(str(episode.seed), episode.outcome, str(episode.steps)) for episode in played}
    own: list[Path] = []
    others: list[Path] = []
    for path in sorted(recordings_of(folder).glob("*.mcap")):
        try:
            said = recorded_metadata(path)  # a label does not change whose it is
            is_own = (said.get("seed"), said.get("outcome"), said.get("steps")) in known
        except RecordingError as error:
            is_own = False
            screen.console.print(str(error), style="yellow", markup=False)
        (own if is_own else others).append(path)
    if others:
        screen.console.print(f"{len(others)} recordings in {recordings_of(folder)} are not of this run: left out")
    return own


def model_of(folder: Path, begun_with: str) -> str:
    """Model directory that a run plays: its own as soon as there is one, until then the one it was begun with."""
    if (newest := newest_round(folder)) is not None:
        return str(newest.resolve())
    return str((folder / _MODEL).resolve()) if is_tuned(folder) else begun_with


def newest_round(folder: Path) -> Path | None:
    """Model of the last round of a run that trains in rounds."""
    rounds = _rounds(folder)
    return rounds[max(rounds)] if rounds else None


def next_round(folder: Path) -> Path:
    """Where the model of the next round goes."""
    return folder / _ROUNDS / f"round-{max(_rounds(folder), default=0) + 1:03d}"


def _rounds(folder: Path) -> dict[int, Path]:
    found = [path for path in (folder / _ROUNDS).glob("round-*") if (path / "manifest.json").is_file()]
    return {int(path.name.removeprefix("round-")): path for path in found}


def is_tuned(folder: Path) -> bool:
    """Whether a run has a model of its own."""
    return (folder / _MODEL).is_dir()


def distilled_of(folder: Path) -> Path | None:
    """Model directory that plays what a run adds up to alone, if there is one: distilled, or of its last round."""
    path = (folder / _DISTILLED).resolve()
    return path if path.is_dir() else newest_round(folder)


def is_distilled(folder: Path, episodes: Path) -> bool:
    """Whether a run was distilled after the last line of its log of episodes was written."""
    path = distilled_of(folder)
    return path is not None and path.stat().st_mtime >= episodes.stat().st_mtime


def tune(folder: Path, begun_with: str, robot: str) -> None:
    """Make the model that the rest of a run plays; raises as `distil`."""
    _imitate(folder, folder / _MODEL, begun_with, robot)


def distil(folder: Path, begun_with: str, robot: str) -> None:
    """Make the VLA that a run adds up to, in place of an older one.

    Raises:
        UserError: There is nothing to learn from, or the model is not one that can be fine-tuned.
    """
    with tempfile.TemporaryDirectory(prefix="distilled_", dir=folder) as made:
        _imitate(folder, Path(made) / _DISTILLED, begun_with, robot, _AVERAGED)
        shutil.rmtree(folder / _DISTILLED, ignore_errors=True)
        (Path(made) / _DISTILLED).rename(folder / _DISTILLED)


def _imitate(folder: Path, out: Path, begun_with: str, robot: str, average: int = 1) -> None:
    """Make a model of the one that a run was begun with; raises as `imitate`."""
    recordings = own_recordings(folder)
    if not recordings:
        raise UserError(f"nothing of this run was recorded in {recordings_of(folder)}")
    imitate(
        recordings, out, "distill", base=begun_with, robot=robot, steps=STEPS, average=average, ema=0.0, held_out=0.0
    )


def imitate(
    recordings: Sequence[Path], out: Path, method: str, robot: str, demonstrations: str = "", **named: Any
) -> None:
    """Make a model of recordings by a method of post-training.

    Args:
        recordings: MCAP files.
        out: Model directory to make.
        method: Name in the registry.
        robot: Robot file.
        demonstrations: LeRobotDataset that is learnt from too, empty for none.
        named: Further options, see `jobs.post_train`.

    Raises:
        UserError: There is nothing to learn from, or the model is not one that can be fine-tuned.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    more = [Path(demonstrations)] if demonstrations else []
    with tempfile.TemporaryDirectory(prefix="dataset_", dir=out.parent) as made:
        dataset = Path(made) / "lerobot"
        with screen.console.status(f"{len(recordings)} episodes become a dataset"):
            done = export_dataset(recordings, dataset, robot, skip_damaged=True)
        for text in done.skipped:
            screen.console.print(f"left out: {text}", style="yellow", highlight=False)
        jobs.post_train(method, [dataset, *more], out, robot=robot, **named)
    shutil.rmtree(out.with_name(f"{out.name}.training"), ignore_errors=True)  # curves of a run are its own
