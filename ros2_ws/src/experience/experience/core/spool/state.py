# SPDX-License-Identifier: Apache-2.0
"""What a spool must know that its segments do not say: what has been dropped, skipped, acknowledged, and how often."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experience.core.spool.checked_file import put_aside, read_checked, write_checked
from experience.core.spool.fileops import FileOps

_NAME = "spool.json"
_VERSION = 1


@dataclass
class SpoolState:
    """State of a spool beside its segments.

    Attributes:
        identity: Of the spool, for its lifetime.
        dropped_through: Newest sequence number that was dropped to make room, 0 for none.
        floor: Numbers up to this are never given out, though no segment holds them.
        acknowledged: The learner has stored everything up to this.
        counters: What happened, by name.
    """

    identity: int
    dropped_through: int = 0
    floor: int = 0
    acknowledged: int = 0
    counters: Counter[str] = field(default_factory=Counter)

    @classmethod
    def open(cls, files: FileOps, folder: Path, identity: int, lost: list[str]) -> SpoolState:
        """State of a folder; a new one, written at once, if it has none that is whole.

        Args:
            files: How files are touched.
            folder: Of the spool.
            identity: Of the spool, if the state does not say it.
            lost: Takes a sentence for each damaged file.

        Raises:
            ValueError: It is of another version.
            OSError: The disk refuses.
        """
        body, damaged = read_checked(folder / _NAME)
        state = cls(identity) if body is None else cls._of(folder, body)
        for path, problem in damaged.items():
            lost.append(f"{path.name} is damaged ({problem}), put aside as {put_aside(files, path).name}")
        if body is None or damaged:
            state.write(files, folder)
        return state

    @classmethod
    def _of(cls, folder: Path, body: dict[str, Any]) -> SpoolState:
        if body.get("version") != _VERSION:
            raise ValueError(f"{folder / _NAME} is of version {body.get('version')}, this is {_VERSION}")
        return cls(
            identity=int(body["identity"]),
            dropped_through=int(body["dropped_through"]),
            floor=int(body["floor"]),
            acknowledged=int(body["acknowledged"]),
            counters=Counter({str(name): int(count) for name, count in body["counters"].items()}),
        )

    def write(self, files: FileOps, folder: Path) -> None:
        """Write it to disk, atomically.

        Raises:
            OSError: The disk refuses.
        """
        body = {
            "version": _VERSION,
            "identity": self.identity,
            "dropped_through": self.dropped_through,
            "floor": self.floor,
            "acknowledged": self.acknowledged,
            "counters": {n: self.counters[n] for n in sorted(self.counters) if self.counters[n]},
        }
        write_checked(files, folder / _NAME, body)
