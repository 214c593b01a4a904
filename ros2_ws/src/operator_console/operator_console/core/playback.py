# SPDX-License-Identifier: Apache-2.0
"""One episode to look at, step by step: pictures, joints, who drove, and what the critic thought.

Pictures are kept as JPEG, so that an episode of a large camera fits in memory.

Legend: T steps, J joints of the arm.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from experience.core.dataset import Dataset, DatasetError
from experience.core.lerobot.info import STATE
from experience.core.lerobot_export.frames import Topics, image_of
from experience.core.recording.reader import RecordingError, messages, topics_in
from experience.core.recording.schema import (
    DecisionScores,
    ExecutedStep,
    PictureHeader,
    RecordedContract,
    checked,
    episode_metadata,
)
from operator_console.core.decision_value import value_of_chosen
from whetstone_common.core.camera_topics import names_of
from whetstone_common.core.enums import RequestKind
from whetstone_common.core.jpeg import encode_jpeg
from whetstone_common.core.pixels import ImageError

_NS_PER_S = 1e9
_QUALITY, _WIDEST_PX = 85, 640
_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class PlaybackError(ValueError):
    """An episode that cannot be shown; the text says why."""


@dataclass(frozen=True, eq=False)
class EpisodeReplay:
    """An episode.

    Attributes:
        times_s: [T] since its first step (s).
        joints: Names of the arm joints, then of the gripper.
        measured: [T, J + 1] rad, then the gripper's opening.
        commanded: [T, J + 1] likewise.
        actors: [T] `Actor` of each step.
        pictures: JPEG of each step by camera, None where there was no picture yet.
        values: Step of a decision and the value that the critic gave to what was chosen.
        seed: Of its scene, 0 where nobody says.
    """

    times_s: NDArray[np.float64]
    joints: tuple[str, ...]
    measured: NDArray[np.float64]
    commanded: NDArray[np.float64]
    actors: NDArray[np.uint8]
    pictures: Mapping[str, Sequence[bytes | None]]
    values: tuple[tuple[int, float], ...] = ()
    seed: int = 0

    def __len__(self) -> int:
        """T."""
        return len(self.actors)


def jpeg_of(rgb: NDArray[np.uint8]) -> bytes:
    """JPEG of a picture, made smaller where it is wider than a page shows it."""
    height, width = rgb.shape[:2]
    if width > _WIDEST_PX:
        size = (_WIDEST_PX, max(1, round(height * _WIDEST_PX / width)))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    try:
        return encode_jpeg(rgb, _QUALITY)
    except ImageError as error:
        raise PlaybackError(str(error)) from error


# ---- recordings ------------------------------------------------------------------------------------------------------


@dataclass
class _CameraTrack:
    """The newest picture before each step; only what is shown is encoded.

    Attributes:
        times_ns: Of the steps, rising.
        is_compressed: Whether messages are pictures of a file format already.
        shown: Picture by step.
    """

    times_ns: Sequence[int]
    is_compressed: bool
    shown: list[bytes | None] = field(default_factory=list)
    _newest: tuple[int, Any] | None = None

    def add(self, stamp_ns: int, msg: Any) -> None:
        """Take a picture; one that is not newer than the last is ignored."""
        if self._newest is None or stamp_ns > self._newest[0]:
            self.show_until(bisect_left(self.times_ns, stamp_ns))
            self._newest = (stamp_ns, msg)

    def show_until(self, end: int) -> None:
        """The newest picture is that of all steps before `end` that have none."""
        missing = end - len(self.shown)
        if missing > 0:
            self.shown += [None if self._newest is None else self._encoded(self._newest[1])] * missing

    def _encoded(self, msg: Any) -> bytes:
        return bytes(msg.data) if self.is_compressed else jpeg_of(image_of(msg))


def of_recording(path: Path) -> EpisodeReplay:
    """Read a recording.

    Raises:
        PlaybackError: It cannot be read, or has no step.
    """
    try:
        return _recording(path, Topics())
    except RecordingError as error:
        raise PlaybackError(str(error)) from error


def _recording(path: Path, topics: Topics) -> EpisodeReplay:
    known = episode_metadata(path)
    found: dict[int, ExecutedStep] = {}
    decisions: list[Any] = []
    joints: tuple[str, ...] = ()
    for message in messages(path, [topics.executed, topics.contract, topics.decision]):
        if message.topic == topics.decision:
            decisions.append(message.data)
        elif message.topic == topics.contract:
            joints = tuple(checked(RecordedContract, path, topics.contract, message.data).joint_names)
        else:
            step = checked(ExecutedStep, path, topics.executed, message.data)
            if step.stamp.episode == known.episode and step.episode_step < known.steps:
                found.setdefault(step.episode_step, step)
    if not found:
        raise PlaybackError(f"{path} holds no step of its episode")
    steps = [found[number] for number in sorted(found)]
    times_ns = [step.time.ns for step in steps]
    measured = _matrix(path, [step.joint_positions for step in steps])
    return EpisodeReplay(
        times_s=(np.array(times_ns) - times_ns[0]) / _NS_PER_S,
        joints=joints if len(joints) == measured.shape[1] else _numbered(measured.shape[1]),
        measured=measured,
        commanded=_matrix(path, [step.joint_command for step in steps]),
        actors=np.array([step.actor for step in steps], dtype=np.uint8),
        pictures=_pictures(path, times_ns, known.start_ns),
        values=_values(path, topics, decisions, steps),
        seed=known.seed,
    )


def _matrix(path: Path, rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise PlaybackError(f"{path}: its steps have different numbers of joints, or none")
    return np.array(rows, dtype=np.float64)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"joint {number}" for number in range(1, count + 1))


def _pictures(path: Path, times_ns: Sequence[int], start_ns: int) -> dict[str, list[bytes | None]]:
    kinds = {topic: kind for topic, kind in topics_in(path).items() if kind in (_IMAGE, _COMPRESSED)}
    tracks = {topic: _CameraTrack(times_ns, kind == _COMPRESSED) for topic, kind in sorted(kinds.items())}
    for message in messages(path, list(tracks)) if tracks else ():
        stamp_ns = checked(PictureHeader, path, message.topic, message.data).header.stamp.ns
        if stamp_ns >= start_ns:  # before that it shows the scene as it was
            tracks[message.topic].add(stamp_ns, message.data)
    for track in tracks.values():
        track.show_until(len(times_ns))
    names = names_of([topic for topic, track in tracks.items() if any(track.shown)])
    return {name: tracks[topic].shown for topic, name in names.items()}


def _values(
    path: Path, topics: Topics, decisions: Iterable[Any], steps: Sequence[ExecutedStep]
) -> tuple[tuple[int, float], ...]:
    """Value at the step where each decision's chunk began to play."""
    begun: dict[int, int] = {}
    for number, step in enumerate(steps):
        begun.setdefault(step.stamp.request_id, number)
    values = []
    for msg in decisions:
        decision = checked(DecisionScores, path, topics.decision, msg)
        value = value_of_chosen(decision.scores, decision.kind, decision.chosen)
        at_step = begun.get(decision.stamp.request_id)
        if value is not None and at_step is not None and decision.request_kind == RequestKind.ACT:
            values.append((at_step, value))
    return tuple(sorted(values))


# ---- datasets --------------------------------------------------------------------------------------------------------


def of_dataset(root: Path, number: int) -> EpisodeReplay:
    """Read an episode of a dataset; what it holds is shown as it stands there.

    Raises:
        PlaybackError: It cannot be read.
    """
    try:
        dataset = Dataset(root)
        episode = dataset.episode(number)
    except DatasetError as error:
        raise PlaybackError(str(error)) from error
    names = dataset.joint_names(STATE)
    width = episode.states.shape[1]
    return EpisodeReplay(
        times_s=np.arange(len(episode)) / dataset.fps,
        joints=tuple(names) if len(names) == width else _numbered(width),
        measured=episode.states,
        commanded=episode.actions,
        actors=episode.actors,
        pictures={name: [jpeg_of(rgb) for rgb in images] for name, images in episode.images.items()},
    )
