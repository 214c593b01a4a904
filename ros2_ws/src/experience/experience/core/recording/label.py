# SPDX-License-Identifier: Apache-2.0
"""What a human says of a recorded episode afterwards: a small file beside the recording, which itself stays as it is.

Whoever reads the recording's metadata, to export it or to learn from it, reads the label's outcome.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from whetstone_common.core.enums import Outcome
from whetstone_common.core.foreign import Name, StrictModel, read_json
from whetstone_common.core.outputs import whole_file

_SUFFIX = ".label.json"
OUTCOMES = tuple(outcome.text for outcome in Outcome)
_OUTCOME = "outcome"


class LabelError(ValueError):
    """A label that cannot be read, or one that no episode has; the text names the file."""


class _LabelFile(StrictModel):
    outcome: Name


def label_file(recording: Path) -> Path:
    """Where the label of a recording lies."""
    return recording.with_name(recording.name + _SUFFIX)


def relabelled(recording: Path, metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata of a recording with what its label says instead.

    Raises:
        LabelError: The label cannot be read.
    """
    path = label_file(recording)
    if not path.exists():
        return dict(metadata)
    outcome = read_json(path, _LabelFile, LabelError).outcome
    if outcome not in OUTCOMES:
        raise LabelError(f"{path}: outcome is {outcome!r}, allowed: {', '.join(OUTCOMES)}; remove the file to undo it")
    return {**metadata, _OUTCOME: outcome}


def write_label(recording: Path, outcome: str) -> None:
    """Say that an episode ended otherwise than its recording says.

    Raises:
        LabelError: There is no such outcome.
        OSError: The file cannot be written.
    """
    if outcome not in OUTCOMES:
        raise LabelError(f"{recording}: outcome {outcome!r}, allowed: {', '.join(OUTCOMES)}")
    with whole_file(label_file(recording)) as partial:
        partial.write_text(json.dumps({_OUTCOME: outcome}) + "\n", encoding="utf-8")


def remove_label(recording: Path) -> None:
    """What was recorded counts again.

    Raises:
        OSError: The file cannot be removed.
    """
    label_file(recording).unlink(missing_ok=True)
