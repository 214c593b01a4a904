# SPDX-License-Identifier: Apache-2.0
"""Reading recorded episodes back, decoded by the definitions that the file itself carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from mcap.reader import make_reader
from mcap.records import Metadata
from mcap.stream_reader import StreamReader
from mcap_ros2.decoder import DecoderFactory

from experience.core.recording.label import LabelError, relabelled
from whetstone_common.core.foreign import reading


class RecordingError(ValueError):
    """A file is no readable recording of an episode."""


@dataclass(frozen=True)
class Decoded:
    """A message of a recording; `data` has the fields of the type as attributes."""

    topic: str
    time_ns: int
    data: Any


def metadata(path: Path) -> dict[str, str]:
    """What is known of the episode: what the recorder knew, and what its label says instead.

    Raises:
        RecordingError: No recording, not one of ours, or one with a label that cannot be read.
    """
    try:
        return relabelled(path, recorded_metadata(path))
    except LabelError as error:
        raise RecordingError(str(error)) from error


def recorded_metadata(path: Path) -> dict[str, str]:
    """What the recorder knew of the episode, whatever its label says.

    Raises:
        RecordingError: No recording, or not one of ours.
    """
    found: dict[str, str] | None = None
    with reading(path, RecordingError), path.open("rb") as stream:
        # To the end: the checksum of everything stands there, and what is read here is in no chunk with its own.
        for record in StreamReader(stream, emit_chunks=True, validate_crcs=True).records:
            if isinstance(record, Metadata) and record.name == "episode":
                found = dict(record.metadata)
    if found is None:
        raise RecordingError(f"{path}: it holds no metadata of an episode, as recorder_node writes them")
    return found


def messages(path: Path, topics: Sequence[str] | None = None) -> Iterator[Decoded]:
    """Decoded messages in order of time.

    Raises:
        RecordingError: The file cannot be read, or a byte of it has changed.
    """
    with reading(path, RecordingError), path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True, decoder_factories=[DecoderFactory()])
        decoded = reader.iter_decoded_messages(topics=topics)
        while (item := _quietly(decoded)) is not None:
            _, channel, message, data = item
            yield Decoded(channel.topic, int(message.log_time), data)


def _quietly(decoded: Iterator[Any]) -> Any:
    """The next message; the parser of damaged definitions prints before it raises, and the error is what counts."""
    with redirect_stderr(StringIO()):
        return next(decoded, None)


def topics_in(path: Path) -> dict[str, str]:
    """Type of each topic that a recording has a channel of.

    Raises:
        RecordingError: The file cannot be read.
    """
    with reading(path, RecordingError), path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
        if summary is None:
            raise RecordingError(f"{path}: it ends before its summary")
        return {each.topic: summary.schemas[each.schema_id].name for each in summary.channels.values()}
