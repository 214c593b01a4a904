# SPDX-License-Identifier: Apache-2.0
"""What a dataset says of itself: meta/info.json and meta/episodes, as schemas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
from pydantic import ConfigDict, Field

from whetstone_common.core.foreign import Name, OpenModel, Positive, SchemaError, parsed, read_json, reading
from whetstone_common.core.instruction import InstructionError, check_instruction

VERSION = "v3.0"
VIDEO_PREFIX = "observation.images."
STATE, ACTION, TARGET, ACTOR, SUCCESS = (
    "observation.state", "action", "action.tcp_target", "actor", "next.success",
)  # fmt: skip
TARGET_NAMES = ("x", "y", "z", "qx", "qy", "qz", "qw")
_Count = Annotated[int, Field(ge=0)]


class DatasetError(ValueError):
    """A dataset that cannot be used; the text names file, episode, and frame or column."""


class Feature(OpenModel):
    """One entry of `features`.

    Attributes:
        dtype: Kind of the values.
        shape: Of one frame.
        names: Of the values, as the format has them: a list, or lists by the name of an axis.
    """

    dtype: str
    shape: Annotated[list[int], Field(min_length=1)]
    names: list[str] | dict[str, list[str]] | None = None

    @property
    def flat_names(self) -> tuple[str, ...]:
        """Names of the values in their order; empty where the dataset does not say."""
        if isinstance(self.names, dict):
            return tuple(name for names in self.names.values() for name in names)
        return tuple(self.names or ())

    @property
    def picture_size(self) -> tuple[int, int]:
        """Rows and columns of a picture."""
        named = dict(zip(self.flat_names, self.shape, strict=False))
        if {"height", "width"} <= set(named):
            return named["height"], named["width"]
        rows = self.shape[1:] if self.shape[0] == 3 else self.shape  # channels may come first
        return (rows[0], rows[1]) if len(self.shape) == 3 else (0, 0)


class Info(OpenModel):
    """meta/info.json."""

    codebase_version: str
    fps: Positive
    features: dict[str, Feature]
    data_path: Name
    video_path: Name | None = None
    total_episodes: int | None = None


class _Version(OpenModel):
    codebase_version: str


class VideoPlace(OpenModel):
    """Where the pictures of an episode are: a file, and the moments (s) in it between which they lie."""

    model_config = ConfigDict(populate_by_name=True)

    chunk_index: _Count
    file_index: _Count
    from_timestamp: Annotated[float, Field(ge=0.0)]
    to_timestamp: float | None = None


class EpisodeInfo(OpenModel):
    """A row of meta/episodes.

    Attributes:
        episode_index: Number of the episode.
        length: Frames.
        tasks: What was said.
        chunk_index: Folder of the data file.
        file_index: Number of the data file.
        videos: Place of the pictures by camera.
    """

    episode_index: _Count
    length: Annotated[int, Field(ge=1)]
    tasks: list[Name]
    chunk_index: _Count = Field(alias="data/chunk_index")
    file_index: _Count = Field(alias="data/file_index")
    videos: dict[str, VideoPlace]


def read_info(root: Path) -> Info:
    """What a dataset's info.json says.

    Raises:
        DatasetError: It is not a dataset, one of another format, or one without states or actions.
    """
    path, what = root / "meta" / "info.json", f"{root} is not a LeRobotDataset of format {VERSION}:"
    try:
        version = read_json(path, _Version, DatasetError).codebase_version
        if version != VERSION:
            raise DatasetError(f"{root} has format {version}, only {VERSION} is known: convert it with lerobot")
        info = read_json(path, Info, DatasetError)
    except DatasetError as error:
        raise error if " has format " in str(error) else DatasetError(f"{what} {error}") from error
    if missing := [name for name in (STATE, ACTION) if name not in info.features]:
        raise DatasetError(f"{root} has no {' and no '.join(missing)}: {path} does not list it among the features")
    for camera in cameras_of(info):
        _check_camera(path, camera, info.features[VIDEO_PREFIX + camera])
    return info


def cameras_of(info: Info) -> tuple[str, ...]:
    """Names of the cameras."""
    return tuple(name.removeprefix(VIDEO_PREFIX) for name in info.features if name.startswith(VIDEO_PREFIX))


def _check_camera(path: Path, camera: str, feature: Feature) -> None:
    if feature.dtype != "video":
        raise DatasetError(f"{path}: camera {camera} is stored as {feature.dtype!r}, only 'video' can be read")
    if min(feature.picture_size) < 1:
        raise DatasetError(f"{path}: camera {camera} has shape {feature.shape}, expected height, width and channels")


def read_entries(root: Path, info: Info) -> list[tuple[Path, EpisodeInfo]]:
    """Each episode with the file that describes it, in order.

    Raises:
        DatasetError: There is none, one is described twice or not as the format has it, or some are missing.
    """
    folder = root / "meta" / "episodes"
    cameras = cameras_of(info)
    found = [(file, _entry(file, row, cameras)) for file in sorted(folder.glob("*/*.parquet")) for row in _rows(file)]
    if not found:
        raise DatasetError(f"{root} holds no episode: there is none in {folder}")
    found.sort(key=lambda pair: pair[1].episode_index)
    numbers = [entry.episode_index for _, entry in found]
    if len(set(numbers)) != len(numbers):
        raise DatasetError(
            f"{folder} describes an episode twice: {sorted({n for n in numbers if numbers.count(n) > 1})}"
        )
    if info.total_episodes is not None and info.total_episodes != len(found):
        raise DatasetError(f"{root} announces {info.total_episodes} episodes, {folder} describes {len(found)}")
    return found


def _rows(file: Path) -> list[dict[str, Any]]:
    with reading(file, DatasetError):
        # Statistics are most of the file, and nobody here reads them.
        columns = [name for name in pq.read_schema(file).names if not name.startswith("stats/")]
        return list(pq.read_table(file, columns=columns).to_pylist())


def _entry(file: Path, row: Mapping[str, Any], cameras: tuple[str, ...]) -> EpisodeInfo:
    where = f"{file}: episode {row.get('episode_index')}"
    try:
        videos = {name: _video(row, name) for name in cameras}
        entry = parsed(EpisodeInfo, {**row, "videos": videos})
    except SchemaError as error:
        raise DatasetError(f"{where}: {error}") from error
    if len(entry.tasks) != 1:
        raise DatasetError(f"{where} has {len(entry.tasks)} instructions in tasks, expected one")
    try:
        check_instruction(entry.tasks[0])
    except InstructionError as error:
        raise DatasetError(f"{where}: tasks: {error}") from error
    return entry


def _video(row: Mapping[str, Any], camera: str) -> VideoPlace:
    prefix = f"videos/{VIDEO_PREFIX}{camera}/"
    found = {key.removeprefix(prefix): value for key, value in row.items() if key.startswith(prefix)}
    if not found:
        raise SchemaError(f"camera {camera} has no video: there are no keys {prefix}...")
    try:
        return parsed(VideoPlace, found)
    except SchemaError as error:
        raise SchemaError(f"camera {camera}: {error}") from error
