# SPDX-License-Identifier: Apache-2.0
"""Frames of an episode, put together from a recording: one per executed step, with what was seen before it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from experience.core.recording.label import LabelError, read_label
from experience.core.recording.reader import RecordingError, messages
from experience.core.recording.schema import (
    CompressedHeader,
    DecisionInstruction,
    EpisodeMetadata,
    ExecutedStep,
    ImageHeader,
    RecordedContract,
    checked,
    episode_metadata,
)
from whetstone_common.core.camera_topics import compressed
from whetstone_common.core.compressed import compressed_size, decoded
from whetstone_common.core.instruction import InstructionError, check_instruction, shown
from whetstone_common.core.joint_range import names_problem
from whetstone_common.core.pixels import ImageError, raw_view, view_to_rgb

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class DatasetFrame:
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
class ExportedEpisode:
    """Frames of one episode and what was said.

    Attributes:
        instruction: Words.
        success: How it ended.
        joints: Names of the arm joints, then of the gripper.
        frames: In order.
        dt_s: Seconds between two frames, where the recording says it.
    """

    instruction: str
    success: bool
    joints: tuple[str, ...]
    frames: tuple[DatasetFrame, ...]
    dt_s: float | None = None


@dataclass(frozen=True)
class Topics:
    """Where in a recording things are.

    Attributes:
        executed: What was commanded.
        contract: What the policy expected; an older recording may lack it.
        decision: What the policy chose, and for which instruction; an older recording may lack it.
        cameras: Name and topic of each camera.
        max_age_s: Oldest picture that a step may have.
    """

    executed: str = "/executed"
    contract: str = "/policy_contract"
    decision: str = "/decision"
    cameras: tuple[tuple[str, str], ...] = (
        ("front", "/camera/front/image_raw"),
        ("wrist", "/camera/wrist/image_raw"),
    )
    max_age_s: float = math.inf


def image_of(msg: Any) -> np.ndarray:
    """RGB array of an image message, raw or compressed.

    Raises:
        RecordingError: An encoding that is not known, or bytes that do not fit.
    """
    try:
        if _is_compressed(msg):
            content = bytes(msg.data)
            return decoded(content, *compressed_size(content))
        view = raw_view(msg.height, msg.width, msg.encoding, msg.step, bytes(msg.data))
    except ImageError as error:
        raise RecordingError(f"image: {error}") from error
    return np.ascontiguousarray(view_to_rgb(view, msg.encoding))


def _is_compressed(msg: Any) -> bool:
    """Whether a picture is a sensor_msgs/CompressedImage, and not an Image."""
    return hasattr(msg, "format")


@dataclass
class _Pictures:
    """The newest picture before each step; of all others nothing is kept.

    Attributes:
        times_ns: Of the steps, rising.
        found: Picture and its age (s) by step.
    """

    times_ns: list[int]
    found: list[tuple[np.ndarray, float] | None]
    _last: tuple[int, np.ndarray] | None = None
    _next: int = 0

    def add(self, stamp_ns: int, msg: Any) -> None:
        """Take a picture; one that is not newer than the last is ignored."""
        if self._last is not None and stamp_ns <= self._last[0]:
            return
        self._give(bisect_left(self.times_ns, stamp_ns))
        self._last = (stamp_ns, image_of(msg))

    def close(self) -> None:
        """The last picture is that of all steps behind it."""
        self._give(len(self.times_ns))

    def _give(self, end: int) -> None:
        for step in range(self._next, end):
            if self._last is not None:
                age_s = (self.times_ns[step] - self._last[0]) / _NS_PER_S
                self.found[step] = (self._last[1], age_s)
        self._next = max(self._next, end)


class AbortedError(RecordingError):
    """A recording of an aborted episode, which says nothing about the task."""


def episode_of(
    path: Path, joints: Sequence[str], topics: Topics | None = None, *, keep_aborted: bool = False
) -> ExportedEpisode:
    """Frames of a recording.

    Args:
        path: An MCAP file of recorder_node.
        joints: Names of the arm joints, then of the gripper.
        topics: Where things are.
        keep_aborted: Whether an aborted episode is read too, as one that did not succeed.

    Raises:
        AbortedError: The episode was aborted.
        RecordingError: Unreadable, of another robot, with another instruction than its own, with a step or picture
            missing in between, or without one step that is complete. The text begins with the file.
    """
    topics = topics or Topics()
    metadata = episode_metadata(path)
    if metadata.outcome == "aborted" and not keep_aborted:
        raise AbortedError(f"{path}: the episode was aborted: {metadata.reason or 'nobody said why'}")
    _check_instruction(path, metadata, topics)
    steps, dt_s = _steps(path, metadata, joints, topics)
    pictures = _pictures(path, metadata, steps, topics)
    first = next((i for i in range(len(steps)) if all(each.found[i] for each in pictures.values())), None)
    if first is None:
        raise RecordingError(f"{path} has no step with images")
    kept = _kept(path, steps, first)
    frames = tuple(
        _frame(path, steps[i], {name: each.found[i] for name, each in pictures.items()}, topics) for i in kept
    )
    return ExportedEpisode(metadata.instruction, metadata.outcome == "succeeded", tuple(joints), frames, dt_s)


def _kept(path: Path, steps: Sequence[ExecutedStep], first: int) -> list[int]:
    """Indices of the steps that count: from the first with images on, and within what the label says."""
    try:
        label = read_label(path)
    except LabelError as error:
        raise RecordingError(str(error)) from error
    kept = [i for i in range(first, len(steps)) if label.keeps(steps[i].episode_step)]
    if not kept:
        here = f"{steps[first].episode_step} to {steps[-1].episode_step}"
        raise RecordingError(f"{path}: its label keeps none of the steps {here}")
    return kept


def _steps(
    path: Path, metadata: EpisodeMetadata, joints: Sequence[str], topics: Topics
) -> tuple[list[ExecutedStep], float | None]:
    """Steps of the episode in order, each once, and the seconds between two, where the recording says it."""
    found: dict[int, ExecutedStep] = {}
    dt_s: float | None = None
    for message in messages(path, [topics.executed, topics.contract]):
        if message.topic == topics.contract:
            contract = checked(RecordedContract, path, topics.contract, message.data)
            if problem := names_problem(contract.joint_names, joints):
                raise RecordingError(f"{path}: joints are {problem}")
            dt_s = contract.dt_s
            continue
        step = checked(ExecutedStep, path, topics.executed, message.data)
        if step.stamp.episode == metadata.episode and step.episode_step < metadata.steps:
            found.setdefault(step.episode_step, step)
    if not found:
        raise RecordingError(f"{path}: no step of episode {metadata.episode} on {topics.executed}")
    numbers = range(min(found), max(found) + 1)
    if missing := [number for number in numbers if number not in found]:
        raise RecordingError(f"{path}: step {missing[0]} of the episode is missing, and {len(missing)} in all")
    steps = [found[number] for number in numbers]
    _check_steps(path, steps, joints)
    return steps, dt_s


def _check_instruction(path: Path, metadata: EpisodeMetadata, topics: Topics) -> None:
    """Refuse an instruction that is malformed, or that the policy did not follow."""
    try:
        check_instruction(metadata.instruction)
    except InstructionError as error:
        raise RecordingError(f"{path}: {error}") from error
    for message in messages(path, [topics.decision]):
        decision = checked(DecisionInstruction, path, topics.decision, message.data)
        if decision.stamp.episode == metadata.episode and decision.instruction != metadata.instruction:
            raise RecordingError(
                f"{path}: the policy followed {shown(decision.instruction)}, "
                f"the episode says {shown(metadata.instruction)}; leave the recording out"
            )


def _check_steps(path: Path, steps: Sequence[ExecutedStep], joints: Sequence[str]) -> None:
    for before, step in pairwise(steps):
        if step.time.ns < before.time.ns:
            raise RecordingError(f"{path}: step {step.episode_step} is earlier than the one before it")
    for step in steps:
        for name, values in (("commands", step.joint_command), ("measures", step.joint_positions)):
            if len(values) != len(joints):
                raise RecordingError(
                    f"{path}: {len(values)} joints recorded, {len(joints)} named: step {step.episode_step} {name} them"
                )


def _pictures(
    path: Path, metadata: EpisodeMetadata, steps: Sequence[ExecutedStep], topics: Topics
) -> dict[str, _Pictures]:
    times = [step.time.ns for step in steps]
    # A recorder that was told to read the compressed images of every camera found them there.
    cameras = {each: name for name, topic in topics.cameras for each in (topic, compressed(topic))}
    pictures = {name: _Pictures(times, [None] * len(times)) for name, _ in topics.cameras}
    for message in messages(path, list(cameras)):
        kind = CompressedHeader if _is_compressed(message.data) else ImageHeader
        stamp_ns = checked(kind, path, message.topic, message.data).header.stamp.ns
        if stamp_ns < metadata.start_ns:  # it shows the scene before it was reset
            continue
        try:
            pictures[cameras[message.topic]].add(stamp_ns, message.data)
        except RecordingError as error:
            raise RecordingError(f"{path}: camera {cameras[message.topic]}: {error}") from error
    for each in pictures.values():
        each.close()
    return pictures


def _frame(
    path: Path, step: ExecutedStep, found: Mapping[str, tuple[np.ndarray, float] | None], topics: Topics
) -> DatasetFrame:
    images: dict[str, np.ndarray] = {}
    for name, picture in found.items():
        if picture is None or picture[1] > topics.max_age_s:
            age = "none" if picture is None else f"{picture[1]:.3f} s old"
            raise RecordingError(
                f"{path}: camera {name}, step {step.episode_step}: the newest picture is {age}, "
                f"allowed: {topics.max_age_s:g} s"
            )
        images[name] = picture[0]
    action = np.asarray(step.joint_command, dtype=np.float32)
    return DatasetFrame(
        state=np.asarray(step.joint_positions, dtype=np.float32),
        action=action,
        tcp_target=np.asarray([*step.tcp_target, action[-1]], dtype=np.float32),
        actor=step.actor,
        images=images,
    )
