# SPDX-License-Identifier: Apache-2.0
"""Recordings become a LeRobotDataset, one episode in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experience.core.lerobot_export.dataset import DatasetWriteError, DatasetWriter
from experience.core.lerobot_export.frames import AbortedError, ExportedEpisode, Topics, episode_of
from experience.core.lerobot_export.layout import DatasetSchema
from experience.core.recording.reader import RecordingError
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.options import robot_of
from whetstone_common.core.namespace import with_namespace
from whetstone_common.core.robot import Robot

_FPS = 20  # of a recording that does not say its rate
_RATE_TOLERANCE = 0.01
# As observation_node's obs_max_age_s: what the policy was not shown is no picture of its step.
_MAX_AGE_S = 0.5


@dataclass
class Exported:
    """What was made.

    Attributes:
        episodes: Episodes of the dataset.
        frames: Their frames.
        skipped: Why a recording was left out, for each.
        aborted: How many aborted episodes were left out.
    """

    episodes: int = 0
    frames: int = 0
    skipped: list[str] = field(default_factory=list)
    aborted: int = 0


def export(recordings: Sequence[Path], root: Path, robot: str) -> int:
    """Number of frames of a dataset that holds every recording; raises as `export_dataset`."""
    return export_dataset(recordings, root, robot).frames


def export_dataset(
    recordings: Sequence[Path], root: Path, robot: str, *, skip_damaged: bool = False, keep_aborted: bool = False
) -> Exported:
    """Write recordings as a LeRobotDataset, which appears when it is whole; aborted episodes are left out.

    Args:
        recordings: MCAP files of recorder_node.
        root: Folder to make.
        robot: Robot file.
        skip_damaged: Leave out what cannot be used, and say so, instead of giving up.
        keep_aborted: Export aborted episodes too, as failures.

    Raises:
        UserError: A recording cannot be used, none can, they do not fit together, or nothing can be written.
    """
    export_ = _Export(robot_of(robot), root, keep_aborted=keep_aborted)
    try:
        for path in recordings:
            export_.add(path, skip_damaged=skip_damaged)
        return export_.finish()
    except (DatasetWriteError, OSError) as error:
        raise UserError(str(error)) from error
    finally:
        export_.discard()


class _Export:
    """A dataset that grows by recordings; what it holds is decided by the first that can be used."""

    def __init__(self, robot: Robot, root: Path, *, keep_aborted: bool) -> None:
        self._robot, self._root, self._keep_aborted = robot, root, keep_aborted
        # As recorded, without the robot's namespace.
        self._topics = topics_of(robot)
        self._writer: DatasetWriter | None = None
        self._schema: DatasetSchema | None = None
        self._done = Exported()

    def add(self, path: Path, *, skip_damaged: bool) -> None:
        """Append a recording; it is forgotten when this returns."""
        try:
            self._append(path)
        except AbortedError:
            self._done.aborted += 1
        except (RecordingError, DatasetWriteError) as error:
            text = str(error) if str(path) in str(error) else f"{path}: {error}"
            if not skip_damaged:
                raise UserError(f"{text}\n\nLeave out what cannot be used with --skip-damaged.") from error
            self._done.skipped.append(text)

    def finish(self) -> Exported:
        if self._writer is None:
            aborted = [f"{self._done.aborted} episodes were aborted; --keep-aborted exports them"] * (
                self._done.aborted > 0
            )
            raise DatasetWriteError("\n\n".join(["no recording can be used", *aborted, *self._done.skipped[:1]]))
        self._writer.finish()
        self._writer = None
        return self._done

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.discard()

    def _append(self, path: Path) -> None:
        episode = episode_of(path, self._robot.contract_joints, self._topics, keep_aborted=self._keep_aborted)
        rate = _rate(episode)
        if self._writer is None or self._schema is None:
            self._schema = DatasetSchema(rate, self._robot.name, self._robot.contract_joints, _cameras(episode))
            self._writer = DatasetWriter(self._root, self._schema, self._robot.joint_range)
        if rate != self._schema.fps:
            raise DatasetWriteError(f"{rate} steps per second in a dataset of {self._schema.fps}")
        self._writer.add(episode)
        self._done.episodes += 1
        self._done.frames += len(episode.frames)


def _rate(episode: ExportedEpisode) -> int:
    if episode.dt_s is None:
        return _FPS
    rate = round(1.0 / episode.dt_s)
    if rate < 1 or abs(rate * episode.dt_s - 1.0) > _RATE_TOLERANCE:
        raise DatasetWriteError(f"{1.0 / episode.dt_s:.4g} steps per second, a dataset has a whole number of them")
    return rate


def topics_of(robot: Robot) -> Topics:
    """Where things are in a recording of a robot."""
    cameras = tuple((name, with_namespace(topic, "")) for name, topic in robot.cameras.items())
    return Topics(cameras=cameras, max_age_s=_MAX_AGE_S)


def _cameras(episode: ExportedEpisode) -> tuple[tuple[str, int, int], ...]:
    return tuple((name, *image.shape[:2]) for name, image in episode.frames[0].images.items())
