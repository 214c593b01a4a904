# SPDX-License-Identifier: Apache-2.0
"""Reads a LeRobotDataset of format v3.0, episode by episode.

Legend: T frames of an episode, J joints of the arm, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experience.core.lerobot.columns import Columns, frame_times
from experience.core.lerobot.info import (
    ACTION,
    ACTOR,
    STATE,
    SUCCESS,
    TARGET,
    TARGET_NAMES,
    VIDEO_PREFIX,
    DatasetError,
    EpisodeInfo,
    cameras_of,
    read_entries,
    read_info,
)
from experience.core.lerobot.mapping import JointMapping, MappingError
from experience.core.lerobot.videos import TOLERANCE_FRAMES, FrameRequest, pictures
from whetstone_common.core.enums import Actor
from whetstone_common.core.foreign import reading
from whetstone_common.core.instruction import check_instruction

__all__ = ["Dataset", "DatasetEpisode", "DatasetError"]


@dataclass(frozen=True, eq=False)
class DatasetEpisode:
    """One episode.

    Attributes:
        instruction: Words.
        success: How it ended; an episode of a dataset that does not say so is a success, as demonstrations are.
        states: float64 [T, J + 1] measured joints (rad), then the gripper's opening.
        actions: float64 [T, J + 1] commanded joints (rad), then the gripper's opening.
        targets: float64 [T, 7] commanded pose x y z (m) qx qy qz qw, where the dataset has it.
        actors: uint8 [T] `Actor`; a human where the dataset does not say.
        images: uint8 RGB [T, H, W, 3] by camera.
        index: Number of the episode in its dataset.
    """

    instruction: str
    success: bool
    states: NDArray[np.float64]
    actions: NDArray[np.float64]
    targets: NDArray[np.float64] | None
    actors: NDArray[np.uint8]
    images: Mapping[str, NDArray[np.uint8]]
    index: int = 0

    def __len__(self) -> int:
        """T."""
        return len(self.states)


class Dataset:
    """A dataset's folder.

    Attributes:
        root: The folder.
        fps: Frames per second.
        cameras: Names of the cameras that it has videos of.
    """

    def __init__(self, root: Path, mapping: JointMapping | None = None) -> None:
        """Read what the dataset says of itself.

        Args:
            root: The folder.
            mapping: Turns its joints into the robot's; None where they are so already.

        Raises:
            DatasetError: It is not a dataset, one of another format, or one without an episode.
        """
        self.root, self._mapping, self._info = root, mapping, read_info(root)
        self.fps, self.cameras = self._info.fps, cameras_of(self._info)
        self._entries = read_entries(root, self._info)

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._entries)

    def __iter__(self) -> Iterator[DatasetEpisode]:
        """Episodes in order, each read when it is asked for.

        Raises:
            DatasetError: A file is missing, broken, or does not hold what is announced.
        """
        for file, entry in self._entries:
            yield self._episode(file, entry)

    def episode(self, number: int) -> DatasetEpisode:
        """Episode of a number; raises `DatasetError` as when iterated over, or when there is none."""
        found = [(file, entry) for file, entry in self._entries if entry.episode_index == number]
        if not found:
            raise DatasetError(f"{self.root} has no episode {number}")
        return self._episode(*found[0])

    def labels(self) -> Iterator[DatasetEpisode]:
        """Episodes as when iterated over, without their images: no video is read.

        Raises:
            DatasetError: A file is missing, broken, or does not hold what is announced.
        """
        for file, entry in self._entries:
            yield self._episode(file, entry, with_images=False)

    def joint_names(self, name: str) -> tuple[str, ...]:
        """Names of the joints in a column, after the mapping; empty where the dataset does not say."""
        return self._mapping.layout.names if self._mapping else self._info.features[name].flat_names

    def _episode(self, file: Path, entry: EpisodeInfo, *, with_images: bool = True) -> DatasetEpisode:
        path = self._path(file, self._info.data_path, entry.chunk_index, entry.file_index)
        columns, where = Columns(path, entry.episode_index, entry.length), f"episode {entry.episode_index}"
        times_s = frame_times(columns, self.fps, TOLERANCE_FRAMES / self.fps, f"{path}: {where}")
        return DatasetEpisode(
            instruction=check_instruction(entry.tasks[0]),
            success=bool(columns.scalars(SUCCESS).any()) if SUCCESS in columns else True,
            states=self._joints(columns, STATE, f"{path}: {where}: {STATE}"),
            actions=self._joints(columns, ACTION, f"{path}: {where}: {ACTION}"),
            targets=self._targets(columns, f"{path}: {where}"),
            actors=_actors(columns, f"{path}: {where}"),
            images={name: self._images(file, entry, name, times_s) for name in self.cameras if with_images},
            index=entry.episode_index,
        )

    def _joints(self, columns: Columns, name: str, where: str) -> NDArray[np.float64]:
        feature = self._info.features[name]
        values = columns.vectors(name, feature.shape[0])
        if self._mapping is None:
            return values
        try:
            return self._mapping.convert(values, feature.flat_names, where)
        except MappingError as error:
            raise DatasetError(str(error)) from error

    def _targets(self, columns: Columns, where: str) -> NDArray[np.float64] | None:
        if TARGET not in columns:
            return None
        feature, count = self._info.features.get(TARGET), len(TARGET_NAMES)
        if feature is None:
            raise DatasetError(f"{where}: {TARGET} is a column, but not among the features of info.json")
        if feature.flat_names[:count] != TARGET_NAMES or feature.shape[0] < count:
            raise DatasetError(f"{where}: {TARGET} is {list(feature.flat_names)}, expected {list(TARGET_NAMES)} first")
        return columns.vectors(TARGET, feature.shape[0])[:, :count]

    def _images(self, file: Path, entry: EpisodeInfo, camera: str, times_s: NDArray[np.float64]) -> NDArray[np.uint8]:
        key, place = VIDEO_PREFIX + camera, entry.videos[camera]
        if self._info.video_path is None:
            raise DatasetError(f"{self.root / 'meta' / 'info.json'}: the key video_path is missing")
        path = self._path(file, self._info.video_path, place.chunk_index, place.file_index, video_key=key)
        where, tolerance_s = f"camera {camera}, episode {entry.episode_index}", TOLERANCE_FRAMES / self.fps
        length_s = times_s[-1] + 1.0 / self.fps
        if place.to_timestamp is not None and place.to_timestamp < place.from_timestamp + length_s - tolerance_s:
            raise DatasetError(
                f"{file}: {where} has pictures from {place.from_timestamp:.4f} to {place.to_timestamp:.4f} s, "
                f"its {entry.length} frames need {length_s:.4f} s"
            )
        size = self._info.features[key].picture_size
        return pictures(FrameRequest(path, where, place.from_timestamp + times_s, size, tolerance_s))

    def _path(self, file: Path, template: str, chunk_index: int, file_index: int, **names: str) -> Path:
        with reading(file, DatasetError):
            return self.root / template.format(chunk_index=chunk_index, file_index=file_index, **names)


def _actors(columns: Columns, where: str) -> NDArray[np.uint8]:
    if ACTOR not in columns:
        return np.full(columns.length, Actor.HUMAN, np.uint8)
    actors, allowed = columns.scalars(ACTOR), [int(actor) for actor in Actor]
    if (wrong := np.flatnonzero(~np.isin(actors, allowed))).size:
        raise DatasetError(f"{where}, frame {wrong[0]}: {ACTOR} is {actors[wrong[0]]:g}, allowed: {allowed}")
    return actors.astype(np.uint8)
