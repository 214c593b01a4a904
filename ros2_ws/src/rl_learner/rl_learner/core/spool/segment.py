# SPDX-License-Identifier: Apache-2.0
"""One file of a spool: records, and when it is full a manifest with its SHA-256."""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl_learner.core.spool.fileops import FileOps, write_whole
from rl_learner.core.spool.record import HEADER_BYTES, Kind, RecordError, StoredRecord, decode, decode_header, scan

SUFFIX = ".wsp"
_MANIFEST_VERSION = 1
_PREFIX = "segment-"


@dataclass
class Segment:
    """What is known of a segment without reading it again.

    Attributes:
        path: The file.
        first: Lowest data sequence that it may hold.
        size: Bytes of whole batches.
        seqs: Sequence numbers of its data records, growing.
        offsets: Where they are.
        notes: (sequence, offset) of its notes.
        closed: Whether its manifest is written.
        lost: What recovery cut off, empty for nothing.
    """

    path: Path
    first: int
    size: int = 0
    seqs: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    notes: list[tuple[int, int]] = field(default_factory=list)
    closed: bool = False
    lost: str = ""

    @property
    def last(self) -> int:
        """Highest data sequence, `first - 1` when there is none."""
        return self.seqs[-1] if self.seqs else self.first - 1

    @property
    def manifest(self) -> Path:
        """Where the manifest is, once closed."""
        return self.path.with_suffix(".json")

    def note(self, offset: int, record: StoredRecord) -> None:
        """Keep the place of a record."""
        if record.kind is Kind.DATA:
            self.seqs.append(record.seq)
            self.offsets.append(offset)
        else:
            self.notes.append((record.seq, offset))
        self.size = offset + record.size

    def close(self, files: FileOps) -> None:
        """Write the manifest; nothing is appended afterwards."""
        body = {
            "version": _MANIFEST_VERSION,
            "file": self.path.name,
            "bytes": self.size,
            "sha256": sha256_of(self.path),
            "first": self.first,
            "last": self.last,
            "data": len(self.seqs),
            "notes": len(self.notes),
        }
        write_whole(files, self.manifest, json.dumps(body, indent=1).encode())
        self.closed = True

    def remove(self, files: FileOps) -> None:
        """Remove manifest and file, in this order: a file alone is scanned, a manifest alone would be a riddle."""
        files.remove(self.manifest)
        files.remove(self.path)

    def read(self, after: int, max_count: int, max_bytes: int) -> list[StoredRecord]:
        """Data records that follow `after`; at least one, however large, when there is one.

        Raises:
            RecordError: The bytes on the disk are not what was written.
        """
        start = bisect.bisect_right(self.seqs, after)
        found: list[StoredRecord] = []
        used = 0
        for record in self.read_at(self.offsets[start : start + max_count]):
            used += record.size
            if found and used > max_bytes:
                break
            found.append(record)
        return found

    def read_notes(self) -> list[StoredRecord]:
        """All notes.

        Raises:
            RecordError: The bytes on the disk are not what was written.
        """
        return list(self.read_at([offset for _seq, offset in self.notes]))

    def read_at(self, offsets: Sequence[int]) -> Iterator[StoredRecord]:
        """Records at these places.

        Raises:
            RecordError: The bytes on the disk are not what was written.
        """
        if not offsets:
            return
        with self.path.open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                head = file.read(HEADER_BYTES)
                yield decode(head + file.read(decode_header(head)[0].length))


def segment_path(folder: Path, first: int, number: int) -> Path:
    """File of the segment with that number, whose data begin with sequence `first`."""
    return folder / f"{_PREFIX}{number:08d}-{first:012d}{SUFFIX}"


def number_and_first(path: Path) -> tuple[int, int]:
    """Number and first sequence in a segment's name.

    Raises:
        ValueError: It is no such name.
    """
    number, first = path.stem.removeprefix(_PREFIX).split("-")
    return int(number), int(first)


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recover(files: FileOps, path: Path, *, writable: bool = True) -> Segment:
    """Segment of a file after a crash: whole batches stay, what follows them is cut off.

    A file whose manifest fits is taken by its headers alone; its payloads are checked when they are read.

    Args:
        files: How files are touched.
        path: The segment's file.
        writable: Whether the damaged tail may be cut off; a reader beside the writer must not.
    """
    segment = Segment(path, number_and_first(path)[1])
    if _manifest_fits(segment) and _take_headers(segment):
        segment.closed = True
        return segment
    segment = Segment(path, segment.first)
    data = path.read_bytes()
    found = scan(data)
    for offset, record in found.records:
        segment.note(offset, record)
    if found.good_bytes < len(data):
        segment.lost = f"{path.name}: {len(data) - found.good_bytes} bytes after {found.good_bytes}: {found.damage}"
        if writable:
            files.truncate(path, found.good_bytes)
            files.sync(path)
    return segment


def _manifest_fits(segment: Segment) -> bool:
    try:
        body: Any = json.loads(segment.manifest.read_text(encoding="utf-8"))
        return bool(
            body["version"] == _MANIFEST_VERSION
            and body["file"] == segment.path.name
            and body["bytes"] == segment.path.stat().st_size
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _take_headers(segment: Segment) -> bool:
    """Index a closed segment; False when its headers do not lead to its end."""
    size = segment.path.stat().st_size
    with segment.path.open("rb") as file:
        while segment.size < size:
            offset = segment.size
            file.seek(offset)
            try:
                record = decode_header(file.read(HEADER_BYTES))[0]
            except RecordError:
                return False
            segment.note(offset, record)
    return segment.size == size
