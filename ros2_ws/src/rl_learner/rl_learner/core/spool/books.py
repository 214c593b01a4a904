# SPDX-License-Identifier: Apache-2.0
"""What a spool must know that its segments do not say: what has been dropped, skipped, acknowledged, and how often."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl_learner.core.spool.fileops import FileOps, write_whole

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
    def open(cls, files: FileOps, folder: Path, identity: int) -> Books:
        """The books of a folder; new ones, written at once, when it has none.

        Raises:
            ValueError: They are of another version.
            OSError: The disk refuses.
        """
        path = folder / _NAME
        if not path.exists():
            books = cls(identity)
            books.write(files, folder)
            return books
        body: Any = json.loads(path.read_text(encoding="utf-8"))
        if body["version"] != _VERSION:
            raise ValueError(f"{path} is of version {body['version']}, this is {_VERSION}")
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
        write_whole(files, folder / _NAME, json.dumps(body, indent=1).encode())
