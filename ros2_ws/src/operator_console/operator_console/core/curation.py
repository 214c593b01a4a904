# SPDX-License-Identifier: Apache-2.0
"""What a human does with recordings: another outcome, trimmed, deleted, back again. No recording is ever changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from experience.core.recording.label import LabelError, label_file, read_label, write_label
from operator_console.core.commands import CommandRefusedError
from operator_console.core.library import DELETED

AS_RECORDED = "as recorded"


def relabel(recording: Path, outcome: str) -> None:
    """Give an episode another outcome, or `AS_RECORDED` the one that it was recorded with.

    Raises:
        CommandRefusedError: There is no such outcome, or the label cannot be written.
    """
    _say(recording, outcome="" if outcome == AS_RECORDED else outcome)


def trim(recording: Path, first_step: int, last_step: int | None) -> None:
    """Let only these steps of an episode count; 0 and None for all.

    Raises:
        CommandRefusedError: They are none, or the label cannot be written.
    """
    _say(recording, first_step=first_step, last_step=last_step)


def _say(recording: Path, **changes: Any) -> None:
    try:
        write_label(recording, replace(read_label(recording), **changes))
    except (LabelError, OSError) as error:
        raise CommandRefusedError(str(error)) from error


def delete(recording: Path) -> Path:
    """Move a recording and its label aside, into a folder beside it; returns where it is now.

    Raises:
        CommandRefusedError: It is aside already, or cannot be moved.
    """
    if recording.parent.name == DELETED:
        raise CommandRefusedError(f"{recording.name} is deleted already")
    return _move(recording, recording.parent / DELETED)


def restore(recording: Path) -> Path:
    """Move a deleted recording and its label back; returns where it is now.

    Raises:
        CommandRefusedError: It is not deleted, another one has its name, or it cannot be moved.
    """
    if recording.parent.name != DELETED:
        raise CommandRefusedError(f"{recording.name} is not deleted")
    return _move(recording, recording.parent.parent)


def _move(recording: Path, folder: Path) -> Path:
    target = folder / recording.name
    if target.exists():
        raise CommandRefusedError(f"{target} exists: move one of the two away by hand")
    try:
        folder.mkdir(exist_ok=True)
        os.rename(recording, target)
        if label_file(recording).exists():
            os.replace(label_file(recording), label_file(target))
    except OSError as error:
        raise CommandRefusedError(f"{recording} cannot be moved: {error.strerror or error}") from error
    return target
