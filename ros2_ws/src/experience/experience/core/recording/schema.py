# SPDX-License-Identifier: Apache-2.0
"""What an export needs of a recording: fields that must be there, whatever else a message has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from experience.core.recording.reader import RecordingError, metadata
from whetstone_common.core.foreign import Name, SchemaError, parsed

_NS_PER_S = 1_000_000_000
_Whole = Annotated[int, Field(ge=0)]
S = TypeVar("S", bound=BaseModel)


class _Message(BaseModel):
    """Fields of a decoded message, read as attributes; numbers are finite."""

    model_config = ConfigDict(from_attributes=True, frozen=True, allow_inf_nan=False)


class EpisodeMetadata(_Message):
    """Metadata of a recording.

    Attributes:
        episode: Number of the episode.
        steps: How many steps it had.
        start_ns: ROS time of its start.
        instruction: What was said.
        outcome: How it ended, as recorded or as labelled since.
        reason: Why, where that is not obvious.
        task: Name of the task; an older recording may lack it.
        duration_s: ROS time from the start to the end (s).
        seed: Of scene and noise; an older recording may lack it.
    """

    episode: _Whole
    steps: _Whole
    start_ns: _Whole
    instruction: Name
    outcome: Name
    reason: str = ""
    task: str = ""
    duration_s: Annotated[float, Field(ge=0.0)] = 0.0
    seed: _Whole = 0


class Time(_Message):
    """A moment."""

    sec: int
    nanosec: int

    @property
    def ns(self) -> int:
        """Nanoseconds."""
        return self.sec * _NS_PER_S + self.nanosec


class _Stamp(_Message):
    episode: int
    request_id: int = 0


class ExecutedStep(_Message):
    """A message of type Executed."""

    stamp: _Stamp
    episode_step: int
    time: Time
    actor: Annotated[int, Field(ge=0, le=2)]
    joint_command: list[float]
    joint_positions: list[float]
    tcp_target: Annotated[list[float], Field(min_length=7, max_length=7)]


class DecisionInstruction(_Message):
    """A message of type Decision: for which episode and which instruction."""

    stamp: _Stamp
    instruction: str


class DecisionScores(_Message):
    """A message of type Decision: what the critic gave to the candidates."""

    stamp: _Stamp
    request_kind: int
    kind: int
    chosen: int
    scores: list[float]


class RecordedContract(_Message):
    """A message of type PolicyContract."""

    joint_names: list[str]
    dt_s: Annotated[float, Field(gt=0.0)]


class _Header(_Message):
    stamp: Time


class PictureHeader(_Message):
    """An image, raw or compressed: when it was taken."""

    header: _Header


class ImageHeader(PictureHeader):
    """An image without its pixels."""

    height: _Whole
    width: _Whole
    encoding: str
    step: _Whole


class CompressedHeader(PictureHeader):
    """A compressed image without its content."""

    format: str


def episode_metadata(path: Path) -> EpisodeMetadata:
    """What the recorder knew of the episode.

    Raises:
        RecordingError: No recording, or one whose metadata lack a key.
    """
    try:
        return parsed(EpisodeMetadata, metadata(path))
    except SchemaError as error:
        raise RecordingError(f"{path}: metadata of the episode: {error}") from error


def checked(schema: type[S], path: Path, topic: str, data: Any) -> S:
    """Fields of a decoded message.

    Raises:
        RecordingError: A field is missing, or its value is impossible.
    """
    try:
        return parsed(schema, data)
    except SchemaError as error:
        raise RecordingError(f"{path}: a message on {topic}: {error}") from error
