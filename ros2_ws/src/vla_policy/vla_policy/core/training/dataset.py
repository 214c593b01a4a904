# SPDX-License-Identifier: Apache-2.0
"""Demonstrations on disk and the chunk windows cut from them.

One `.npz` file per episode, plain arrays only. Legend: T ticks, E episodes, H horizon, A action dims, B batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vla_policy.core.normalise import PolicyStats, Stats
from vla_policy.core.training.pointing import places
from whetstone_common.core.foreign import reading

F32 = NDArray[np.float32]


class DemoError(ValueError):
    """A demonstration's file that cannot be used; the text names the file."""


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an episode's arrays; the file appears only when it is whole."""
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **arrays)
    partial.replace(path)


def arrays_in(path: Path, data: Mapping[str, NDArray[Any]], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The named arrays of an episode's file.

    Raises:
        DemoError: One is missing.
    """
    arrays = {name: data[name] for name in names if name in data}
    if missing := [name for name in names if name not in arrays]:
        raise DemoError(f"{path}: the array {missing[0]} is missing")
    return arrays


@dataclass(frozen=True, eq=False)
class Demo:
    """One demonstration; row t is the observation before the command of tick t was given.

    Attributes:
        front: uint8 [T, S, S, 3].
        wrist: uint8 [T, S, S, 3].
        proprio: float32 [T, 10], see `whetstone_common.core.cartesian.cartesian_proprio`.
        joints: float32 [T, 7] rad, measured.
        command_position: float32 [T, 3] m, commanded TCP target in the base frame.
        command_rotation: float32 [T, 3, 3].
        command_joints: float32 [T, 7] rad.
        command_opening: float32 [T] in 0..1.
        object_position: float32 [T, 3] m, instructed object in the base frame.
        goal_position: float32 [T, 3] m, where its centre should end.
        object_yaw: float32 [T] rad.
        goal_yaw: float32 [T] rad.
        usable: bool [T], whether a chunk may start here (false where the executed command was not the recorded one).
        instruction: the words.
    """

    front: NDArray[np.uint8]
    wrist: NDArray[np.uint8]
    proprio: F32
    joints: F32
    command_position: F32
    command_rotation: F32
    command_joints: F32
    command_opening: F32
    object_position: F32
    goal_position: F32
    object_yaw: F32
    goal_yaw: F32
    usable: NDArray[np.bool_]
    instruction: str

    def __len__(self) -> int:
        """T."""
        return len(self.proprio)

    def save(self, path: Path) -> None:
        """Writes the episode; the file appears only when it is whole."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "instruction"}
        save_arrays(path, arrays | {"instruction": np.frombuffer(self.instruction.encode(), dtype=np.uint8)})

    @classmethod
    def load(cls, path: Path) -> Demo:
        """Reads what `save` wrote; never unpickles.

        Raises:
            DemoError: an array is missing, or of another length than the others.
        """
        with reading(path, DemoError), np.load(path, allow_pickle=False) as data:
            arrays = arrays_in(path, data, [f.name for f in fields(cls)])
            instruction, length = arrays.pop("instruction").tobytes().decode(), len(arrays["proprio"])
            for name, array in arrays.items():
                # scenes that are shown again with other words hold no images of their own
                if len(array) != length and not (name in ("front", "wrist") and len(array) == 0):
                    raise DemoError(f"{path}: {name} has {len(array)} ticks, proprio {length}")
            return cls(instruction=instruction, **arrays)


def proprio_rotation(proprio: F32) -> NDArray[np.float64]:
    """Rotation matrices [..., 3, 3] from proprioception [..., 10]."""
    x, y = proprio[..., 3:6].astype(np.float64), proprio[..., 6:9].astype(np.float64)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def window_index(length: int, horizon: int) -> NDArray[np.int64]:
    """[T, H]: ticks of the chunk that starts at each tick; past the end the last command repeats."""
    return np.minimum(np.arange(length)[:, None] + np.arange(horizon)[None, :], length - 1)


def cartesian_chunks(demo: Demo, horizon: int) -> F32:
    """[T, H, 7]: commanded TCP targets relative to the measured TCP at each chunk's start, gripper absolute."""
    index = window_index(len(demo), horizon)
    offset = demo.command_position[index] - demo.proprio[:, None, :3]  # [T, H, 3]
    reference = proprio_rotation(demo.proprio)[:, None]  # [T, 1, 3, 3]
    relative = demo.command_rotation[index].astype(np.float64) @ np.swapaxes(reference, -1, -2)
    turn = Rotation.from_matrix(relative.reshape(-1, 3, 3)).as_rotvec().reshape(len(demo), horizon, 3)
    opening = demo.command_opening[index][..., None]
    return np.concatenate([offset, turn, opening], axis=-1).astype(np.float32)


def joint_chunks(demo: Demo, horizon: int) -> F32:
    """[T, H, 8]: commanded joints minus measured joints at each chunk's start, gripper absolute."""
    index = window_index(len(demo), horizon)
    offset = demo.command_joints[index] - demo.joints[:, None]
    return np.concatenate([offset, demo.command_opening[index][..., None]], axis=-1).astype(np.float32)


CHUNKS = {"cartesian": cartesian_chunks, "joint": joint_chunks}


def proprio_of(demo: Demo, action_space: str) -> F32:
    """[T, P]: TCP and opening for `cartesian`, joints and opening for `joint`."""
    if action_space == "cartesian":
        return demo.proprio
    return np.concatenate([demo.joints, demo.proprio[:, 9:]], axis=-1).astype(np.float32)


def detection_targets(demo: Demo) -> F32:
    """[T, 2, 8] for (object, goal): base frame (3), relative to the TCP (3), cos and sin of four times the yaw (2)."""
    out = []
    for position, yaw in ((demo.object_position, demo.object_yaw), (demo.goal_position, demo.goal_yaw)):
        turn = np.stack([np.cos(4.0 * yaw), np.sin(4.0 * yaw)], axis=-1)  # square things look alike every 90 degrees
        out.append(np.concatenate([position, position - demo.proprio[:, :3], turn], axis=-1))
    return np.stack(out, axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ChunkBatch:
    """What one training step sees; images uint8, the rest normalised float32.

    The first W frames start a chunk; those after them are for detection alone.

    Attributes:
        images: uint8 [B, cameras, S, S, 3].
        proprio: [W, P].
        actions: [W, H, A].
        detection: [B, 2, 8].
        where: [B, cameras, 2, 2] place of object and goal in each image, 0 to 1.
        instruction: int64 [B], index into `ChunkDataset.instructions`.
    """

    images: NDArray[np.uint8]
    proprio: F32
    actions: F32
    detection: F32
    where: F32
    instruction: NDArray[np.int64]


class ChunkDataset:
    """All usable windows of some demonstrations, in memory."""

    def __init__(
        self,
        demos: Sequence[Demo],
        horizon: int = 16,
        dt_s: float = 0.05,
        action_space: str = "cartesian",
        stats: PolicyStats | None = None,
    ) -> None:
        """Cuts windows; takes statistics from these demonstrations unless `stats` is given."""
        if not demos:
            raise ValueError("no demonstrations")
        # scenes are shown with several instructions: those after the first hold no images of their own
        self._images: list[NDArray[np.uint8]] = []
        for demo in demos:
            own = len(demo.front) > 0
            self._images.append(np.stack([demo.front, demo.wrist], axis=1) if own else self._images[-1])
        actions = [CHUNKS[action_space](d, horizon) for d in demos]
        proprio = [proprio_of(d, action_space) for d in demos]
        self.instructions = tuple(sorted({d.instruction for d in demos} | set(stats.instructions if stats else ())))
        usable = [np.flatnonzero(d.usable) for d in demos]
        self.stats = stats or PolicyStats(
            action=Stats.of(np.concatenate([a[u] for a, u in zip(actions, usable, strict=True)])),
            proprio=Stats.of(np.concatenate(proprio)),
            cameras=("front", "wrist"),
            dt_s=dt_s,
            action_space=action_space,
            instructions=self.instructions,
        )
        self._actions = [self.stats.action.normalise(a) for a in actions]
        self._proprio = [self.stats.proprio.normalise(p) for p in proprio]
        targets = [detection_targets(d) for d in demos]
        self.detection_stats = Stats.of(np.concatenate(targets).reshape(-1, targets[0].shape[-1]))
        self._detection = [self.detection_stats.normalise(t) for t in targets]
        self._where = [
            places(
                np.stack([d.object_position, d.goal_position], axis=1), d.proprio[:, :3], proprio_rotation(d.proprio)
            )
            for d in demos
        ]
        self._words = [self.instructions.index(d.instruction) for d in demos]
        self._starts = np.array([(e, t) for e, u in enumerate(usable) for t in u], dtype=np.int64).reshape(-1, 2)
        scenes = [e for e, u in enumerate(usable) if len(u) == 0] or range(len(demos))
        self._frames = np.array([(e, t) for e in scenes for t in range(len(demos[e]))], dtype=np.int64)

    def use_detection_stats(self, stats: Stats) -> None:
        """Re-normalises the detection targets, so that a validation set is measured with the training set's units."""
        self._detection = [stats.normalise(self.detection_stats.denormalise(t)) for t in self._detection]
        self.detection_stats = stats

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._starts)

    def batch(self, rng: np.random.Generator, windows: int, scenes: int = 0) -> ChunkBatch:
        """Draws `windows` chunk starts and `scenes` frames of those without any, uniformly with replacement."""
        starts = self._starts[rng.integers(len(self._starts), size=windows)]
        frames = self._frames[rng.integers(len(self._frames), size=scenes)]
        return self.gather(starts, frames)

    def gather(self, starts: Iterable[NDArray[np.int64]], frames: Iterable[NDArray[np.int64]] = ()) -> ChunkBatch:
        """The windows and the further frames at (episode, tick) pairs."""
        acting = [(int(e), int(t)) for e, t in starts]
        seen = acting + [(int(e), int(t)) for e, t in frames]
        return ChunkBatch(
            images=np.stack([self._images[e][t] for e, t in seen]),
            proprio=np.stack([self._proprio[e][t] for e, t in acting]),
            actions=np.stack([self._actions[e][t] for e, t in acting]),
            detection=np.stack([self._detection[e][t] for e, t in seen]),
            where=np.stack([self._where[e][t] for e, t in seen]),
            instruction=np.array([self._words[e] for e, _ in seen], dtype=np.int64),
        )


def episode_files(directory: Path, limit_per_task: int | None = None) -> list[Path]:
    """Every episode's file under `directory/<task>/`, in the order of their names."""
    files: list[Path] = []
    for task in sorted(path for path in directory.iterdir() if path.is_dir()):
        whole = sorted(p for p in task.glob("*.npz") if not p.name.endswith(".partial.npz"))
        files += whole[:limit_per_task]
    return files


def load_demos(directory: Path, limit_per_task: int | None = None) -> list[Demo]:
    """Every episode under `directory/<task>/`, in the order of their names."""
    return [Demo.load(path) for path in episode_files(directory, limit_per_task)]
