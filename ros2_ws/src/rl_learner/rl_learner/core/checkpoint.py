# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a learner: everything that a run needs to go on as if it had not stopped.

One folder per checkpoint: `learner.safetensors` (weights, targets, optimisers, generator), `replay-*.safetensors`,
and the manifest, written last. A folder without a whole manifest does not count.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from experience.core.spool.fileops import DiskFiles, FileOps
from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.files import MANIFEST, read_manifest
from vla_policy.core.tensor_files import read_tensors

KEEP = 3
LEARNER, REPLAY = "learner.safetensors", "replay-{}.safetensors"
PARTIAL = ".partial-"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a checkpoint holds.

    Attributes:
        step: Updates done.
        learner: Tensors of the learner, by name.
        replays: Tensors of each replay, by the replay's name.
        notes: Anything else that JSON can hold: method, resolved configuration, run, parent.
    """

    step: int
    learner: Mapping[str, Tensor]
    replays: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


def save(directory: Path, snapshot: Snapshot, keep: int = KEEP, files: FileOps | None = None) -> Path:
    """Writes a checkpoint beside the others, and removes all but the newest `keep`.

    It is written under another name, brought to the disk, and only then called `step-<n>`: whenever the process ends,
    what is called so is whole.
    """
    files = files or DiskFiles()
    folder = _unused(directory, f"step-{snapshot.step:09d}")
    partial = directory / f"{PARTIAL}{folder.name}"
    clean(directory)
    partial.mkdir(parents=True)
    parts = {LEARNER: snapshot.learner} | {REPLAY.format(name): rows for name, rows in snapshot.replays.items()}
    digests = {}
    for name, tensors in parts.items():
        data = to_bytes({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
        digests[name] = hashlib.sha256(data).hexdigest()
        files.append(partial / name, data)
        files.sync(partial / name)
    body = {"step": snapshot.step, "replays": sorted(snapshot.replays), "notes": dict(snapshot.notes)}
    text = json.dumps(body | {"files": digests}, indent=1, sort_keys=True) + "\n"
    files.append(partial / MANIFEST, text.encode())
    files.sync(partial / MANIFEST)
    files.sync(partial)
    files.replace(partial, folder)
    files.sync(directory)
    for old in _folders(directory)[:-keep]:
        shutil.rmtree(old)
    return folder


def clean(directory: Path) -> None:
    """Removes what a process left that ended while it wrote."""
    for left in directory.glob(f"{PARTIAL}*"):
        shutil.rmtree(left)


def _unused(directory: Path, name: str) -> Path:
    """More data may have come without another update: then the name gets a number, which sorts behind."""
    taken = [p.name for p in directory.glob(f"{name}*")]
    return directory / (f"{name}-{1 + max(_serial(t) for t in taken):04d}" if taken else name)


def _serial(name: str) -> int:
    return int(name.split("-")[2]) if name.count("-") > 1 else 0


def load(folder: Path) -> Snapshot:
    """Reads a checkpoint, hashes first.

    Raises:
        CheckpointError: It is not whole, or a file was altered.
    """
    body = read_manifest(folder)
    replays = {name: read_tensors(folder / REPLAY.format(name)) for name in body["replays"]}
    return Snapshot(int(body["step"]), read_tensors(folder / LEARNER), replays, body["notes"])


def latest(directory: Path) -> tuple[Path | None, list[str]]:
    """Newest checkpoint whose manifest and hashes hold, and what is wrong with each that is newer.

    Raises:
        CheckpointError: There are checkpoints, and none of them is whole.
    """
    wrong: list[str] = []
    for folder in reversed(_folders(directory)):
        try:
            read_manifest(folder)
        except (CheckpointError, ValueError) as error:
            wrong.append(str(error))
            continue
        return folder, wrong
    if wrong:
        raise CheckpointError(f"none of {len(wrong)} checkpoints is whole: {'; '.join(wrong)}")
    return None, []


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes: two learners with the same digest are the same."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        total.update(value.view(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return total.hexdigest()


def _folders(directory: Path) -> list[Path]:
    return sorted(p for p in directory.glob("step-*") if p.is_dir())
