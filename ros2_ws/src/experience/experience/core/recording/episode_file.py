# SPDX-License-Identifier: Apache-2.0
"""One MCAP file of one episode: there as a whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mcap.writer import CompressionType, Writer

_SUFFIX = ".mcap"
# What rosbag2 writes; readers choose their decoder by it.
_PROFILE = "ros2"
_LIBRARY = "whetstone"


@dataclass(frozen=True)
class Channel:
    """A recorded topic.

    Attributes:
        topic: Fully qualified name.
        type_name: For example sensor_msgs/msg/Image.
        definition: Complete text of the type, with everything it contains.
        qos: Offered QoS profiles as YAML, as rosbag2 stores them; may be empty.
    """

    topic: str
    type_name: str
    definition: str
    qos: str = ""


@dataclass(frozen=True)
class Message:
    """A serialised message.

    Attributes:
        topic: Fully qualified name.
        data: CDR bytes.
        time_ns: ROS time of reception.
    """

    topic: str
    data: bytes
    time_ns: int


def recording_name(task: str, epoch: int, episode: int) -> str:
    """File name of an episode's recording: whoever knows the episode knows its file among others'."""
    return f"{task}_{epoch}_{episode:06d}{_SUFFIX}"


class EpisodeFile:
    """Writes to `<name>.part` beside the target and renames it at the end, so a crash leaves no half episode."""

    def __init__(self, path: Path, channels: Sequence[Channel]) -> None:
        """Open the file and describe all topics.

        Raises:
            FileExistsError: There is a recording of that name, which stays as it is.
            OSError: The disk refuses.
        """
        if path.exists():
            raise FileExistsError(f"{path} exists already")
        self.path = path
        self.count = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = path.with_name(path.name + ".part")
        # Owned by this object and closed in finish or discard.
        self._stream = self._partial.open("wb")
        self._writer = Writer(self._stream, compression=CompressionType.ZSTD, enable_data_crcs=True)
        self._writer.start(profile=_PROFILE, library=_LIBRARY)
        self._channels = {channel.topic: self._register(channel) for channel in channels}
        self._sequence = dict.fromkeys(self._channels, 0)

    @property
    def size_bytes(self) -> int:
        """Bytes in the file so far, without what the writer still gathers."""
        return 0 if self._stream.closed else self._stream.tell()

    def _register(self, channel: Channel) -> int:
        schema = self._writer.register_schema(channel.type_name, "ros2msg", channel.definition.encode())
        metadata = {"offered_qos_profiles": channel.qos}
        return int(self._writer.register_channel(channel.topic, "cdr", schema, metadata))

    def write(self, message: Message) -> None:
        """Append a message of one of the announced topics.

        Raises:
            OSError: The disk refuses.
        """
        self._sequence[message.topic] += 1
        self._writer.add_message(
            channel_id=self._channels[message.topic],
            log_time=message.time_ns,
            publish_time=message.time_ns,
            sequence=self._sequence[message.topic],
            data=message.data,
        )
        self.count += 1

    def finish(self, metadata: Mapping[str, str]) -> Path:
        """Add what is known of the episode, flush to disk, give the file its name.

        Raises:
            OSError: The disk refuses.
        """
        self._writer.add_metadata("episode", dict(metadata))
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        os.replace(self._partial, self.path)
        return self.path

    def discard(self) -> None:
        """Forget the episode."""
        # On a full disk what waits in the stream cannot be written; it is not wanted either.
        with suppress(OSError):
            self._stream.close()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)
