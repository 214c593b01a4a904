# SPDX-License-Identifier: Apache-2.0
"""Reading recorded episodes back, decoded by the definitions that the file itself carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory


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
    try:
        with path.open("rb") as stream:
            for record in make_reader(stream).iter_metadata():
                if record.name == "episode":
                    return dict(record.metadata)
    except (McapError, OSError, EOFError) as error:
        raise RecordingError(f"{path}: {error}") from error
    raise RecordingError(f"{path} tells nothing of an episode")


def messages(path: Path, topics: Sequence[str] | None = None) -> Iterator[Decoded]:
    """Decoded messages in order of time.

    Raises:
        RecordingError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            reader = make_reader(stream, decoder_factories=[DecoderFactory()])
            for _, channel, message, data in reader.iter_decoded_messages(topics=topics):
                yield Decoded(channel.topic, int(message.log_time), data)
    except (McapError, OSError, EOFError) as error:
        raise RecordingError(f"{path}: {error}") from error
