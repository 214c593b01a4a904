# SPDX-License-Identifier: Apache-2.0
"""What a human says of a recorded episode afterwards: a small file beside the recording, which itself stays as it is.

Whoever exports the recording or learns from it reads the label: another outcome, and which steps count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from whetstone_common.core.enums import Outcome
from whetstone_common.core.foreign import Name, StrictModel, read_json
from whetstone_common.core.outputs import whole_file

_SUFFIX = ".label.json"
OUTCOMES = tuple(outcome.text for outcome in Outcome)
_OUTCOME = "outcome"
Step = Annotated[int, Field(ge=0)]


class LabelError(ValueError):
    """A label that cannot be read, or one that no episode has; the text names the file."""


@dataclass(frozen=True)
class Label:
    """What is said of an episode.

    Attributes:
        outcome: How it ended, empty for as it was recorded.
        first_step: First step that counts, from 0.
        last_step: Last one, None for the episode's own.
    """

    outcome: str = ""
    first_step: int = 0
    last_step: int | None = None

    def keeps(self, step: int) -> bool:
        """Whether a step of the episode counts."""
        return self.first_step <= step and (self.last_step is None or step <= self.last_step)

    def check(self, recording: Path) -> None:
        """Refuse what no episode has.

        Raises:
            LabelError: With the recording, and what is allowed.
        """
        if self.outcome and self.outcome not in OUTCOMES:
            raise LabelError(f"{recording}: outcome is {self.outcome!r}, allowed: {', '.join(OUTCOMES)}")
        if self.last_step is not None and self.last_step < self.first_step:
            raise LabelError(f"{recording}: steps {self.first_step} to {self.last_step} are none")


class _LabelFile(StrictModel):
    outcome: Name | None = None
    first_step: Step = 0
    last_step: Step | None = None


def label_file(recording: Path) -> Path:
    """Where the label of a recording lies."""
    return recording.with_name(recording.name + _SUFFIX)


def read_label(recording: Path) -> Label:
    """What is said of a recording; nothing where there is no label.

    Raises:
        LabelError: The label cannot be read.
    """
    path = label_file(recording)
    if not path.exists():
        return Label()
    label = Label(**read_json(path, _LabelFile, LabelError).model_dump(exclude_none=True))
    if label == Label():
        raise LabelError(f"{path}: it says nothing; remove the file")
    try:
        label.check(path)
    except LabelError as error:
        raise LabelError(f"{error}; remove the file to undo it") from error
    return label


def relabelled(recording: Path, metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata of a recording with the outcome that its label says instead.

    Raises:
        LabelError: The label cannot be read.
    """
    label = read_label(recording)
    return {**metadata, _OUTCOME: label.outcome} if label.outcome else dict(metadata)


def write_label(recording: Path, label: Label) -> None:
    """Say something of a recording; a label that says nothing is removed.

    Raises:
        LabelError: No episode has what it says.
        OSError: The file cannot be written.
    """
    label.check(recording)
    if label == Label():
        label_file(recording).unlink(missing_ok=True)
        return
    said = {name: value for name, value in asdict(label).items() if value != getattr(Label(), name)}
    with whole_file(label_file(recording)) as partial:
        partial.write_text(json.dumps(said) + "\n", encoding="utf-8")
