# SPDX-License-Identifier: Apache-2.0
"""What a spool must know that its segments do not say: what has been dropped, skipped, acknowledged, and how often."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl_learner.core.spool.fileops import FileOps
from rl_learner.core.spool.kept import put_aside, read_kept, write_kept

_NAME = "spool.json"
_VERSION = 1


@dataclass
class Books:
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
    def open(cls, files: FileOps, folder: Path, identity: int, lost: list[str]) -> Books:
        """The books of a folder; new ones, written at once, when it has none that are whole.

        Args:
            files: How files are touched.
            folder: Of the spool.
            identity: Of the spool, when its books do not say it.
            lost: Takes a sentence for each damaged file.

        Raises:
            ValueError: They are of another version.
            OSError: The disk refuses.
        """
        body, damaged = read_kept(folder / _NAME)
        books = cls(identity) if body is None else cls._of(folder, body)
        for path, problem in damaged.items():
            lost.append(f"{path.name} is damaged ({problem}), put aside as {put_aside(files, path).name}")
        if body is None or damaged:
            books.write(files, folder)
        return books

    @classmethod
    def _of(cls, folder: Path, body: dict[str, Any]) -> Books:
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
        """Put them on the disk, wholly or not at all.

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
        write_kept(files, folder / _NAME, body)
