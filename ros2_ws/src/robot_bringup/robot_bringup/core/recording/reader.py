# SPDX-License-Identifier: Apache-2.0
"""Reading recorded episodes back, decoded by the definitions that the file itself carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

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
    """What the recorder knew of the episode.

    Raises:
        RecordingError: No recording, or not one of ours.
    """
    with reading(path, RecordingError), path.open("rb") as stream:
        for record in make_reader(stream, validate_crcs=True).iter_metadata():
            if record.name == "episode":
                return dict(record.metadata)
    raise RecordingError(f"{path}: it holds no metadata of an episode, as recorder_node writes them")


def messages(path: Path, topics: Sequence[str] | None = None) -> Iterator[Decoded]:
    """Decoded messages in order of time.

    Raises:
        RecordingError: The file cannot be read, or a byte of it has changed.
    """
    with reading(path, RecordingError), path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for _, channel, message, data in reader.iter_decoded_messages(topics=topics):
            yield Decoded(channel.topic, int(message.log_time), data)
