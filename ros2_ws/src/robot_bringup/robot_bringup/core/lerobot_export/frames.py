# SPDX-License-Identifier: Apache-2.0
"""Frames of an episode, put together from a recording: one per executed step, with what was seen before it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from robot_bringup.core.recording.reader import Decoded, RecordingError, messages, metadata
from whetstone_common.core.pixels import ImageError, raw_view, view_to_rgb

_NS_PER_S = 1_000_000_000
T = TypeVar("T")


@dataclass(frozen=True)
class Frame:
    """One step.

    Attributes:
        state: Measured joints, then gripper opening [J+1].
        action: Commanded joints, then gripper opening [J+1].
        tcp_target: Commanded pose x y z qx qy qz qw and gripper opening [8].
        actor: Executed.HOLD, POLICY or HUMAN.
        images: uint8 RGB [H, W, 3] by camera.
    """

    state: np.ndarray
    action: np.ndarray
    tcp_target: np.ndarray
    actor: int
    images: dict[str, np.ndarray]


@dataclass(frozen=True)
class Episode:
    """Frames of one episode and what was said."""

    instruction: str
    success: bool
    joints: tuple[str, ...]
    frames: tuple[Frame, ...]


@dataclass
class _Series(Generic[T]):
    """Values by time; a time that comes again replaces nothing, the first is as good."""

    times_ns: list[int] = field(default_factory=list)
    values: list[T] = field(default_factory=list)

    def add(self, time_ns: int, value: T) -> None:
        if not self.times_ns or time_ns > self.times_ns[-1]:
            self.times_ns.append(time_ns)
            self.values.append(value)

    def at(self, time_ns: int) -> T | None:
        """Newest value that is not later."""
        index = bisect_right(self.times_ns, time_ns)
        return self.values[index - 1] if index else None


def _time_ns(time: Any) -> int:
    return int(time.sec) * _NS_PER_S + int(time.nanosec)


def image_of(msg: Any) -> np.ndarray:
    """RGB array of an image message.

    Raises:
        RecordingError: An encoding that does not say the order of its colours, or bytes that do not fit.
    """
    try:
        view = raw_view(msg.height, msg.width, msg.encoding, msg.step, bytes(msg.data))
    except ImageError as error:
        raise RecordingError(f"image: {error}") from error
    return np.ascontiguousarray(view_to_rgb(view, msg.encoding))


@dataclass(frozen=True)
class Topics:
    """Where in a recording things are."""

    executed: str = "/executed"
    cameras: tuple[tuple[str, str], ...] = (
        ("front", "/camera/front/image_raw"),
        ("wrist", "/camera/wrist/image_raw"),
    )


def _collect(decoded: Iterable[Decoded], topics: Topics, start_ns: int) -> tuple[list[Any], dict[str, _Series[Any]]]:
    cameras = {topic: name for name, topic in topics.cameras}
    images: dict[str, _Series[Any]] = {name: _Series() for name, _ in topics.cameras}
    executed: list[Any] = []
    for message in decoded:
        if message.topic == topics.executed:
            executed.append(message.data)
        elif (stamp_ns := _time_ns(message.data.header.stamp)) >= start_ns:
            # Older ones show the scene before it was reset.
            images[cameras[message.topic]].add(stamp_ns, message.data)
    return executed, images


def _frame(step: Any, images: dict[str, _Series[Any]]) -> Frame | None:
    time_ns = _time_ns(step.time)
    seen = {name: series.at(time_ns) for name, series in images.items()}
    if any(image is None for image in seen.values()):
        return None
    action = np.asarray(step.joint_command, dtype=np.float32)
    return Frame(
        state=np.asarray(step.joint_positions, dtype=np.float32),
        action=action,
        tcp_target=np.asarray([*step.tcp_target, action[-1]], dtype=np.float32),
        actor=int(step.actor),
        images={name: image_of(image) for name, image in seen.items()},
    )


def episode_of(path: Path, joints: Sequence[str], topics: Topics | None = None) -> Episode:
    """Frames of a recording.

    Args:
        path: An MCAP file of recorder_node.
        joints: Names of the arm joints, then of the gripper.
        topics: Where things are.

    Raises:
        RecordingError: Unreadable, or without a single complete step.
    """
    topics = topics or Topics()
    known = metadata(path)
    wanted = [topics.executed, *(topic for _, topic in topics.cameras)]
    executed, images = _collect(messages(path, wanted), topics, int(known["start_ns"]))
    number = int(known["episode"])
    steps = [s for s in executed if s.stamp.episode == number and s.episode_step < int(known["steps"])]
    frames = tuple(frame for step in steps if (frame := _frame(step, images)) is not None)
    if not frames:
        raise RecordingError(f"{path} has no step with images")
    if len(frames[0].action) != len(joints):
        raise RecordingError(f"{path}: {len(frames[0].action)} joints recorded, {len(joints)} named")
    return Episode(known["instruction"], known["outcome"] == "succeeded", tuple(joints), frames)
