# SPDX-License-Identifier: Apache-2.0
"""One file of a spool: records, and when it is full a manifest with its SHA-256."""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experience.core.spool.fileops import FileOps, write_whole
from experience.core.spool.record import HEADER_BYTES, RecordError, RecordKind, StoredRecord, decode, decode_header
from experience.core.spool.scan import Damage, misfit, scan

SUFFIX = ".wsp"
_MANIFEST_VERSION = 1
_PREFIX = "segment-"


@dataclass
class SpoolSegment:
    """What is known of a segment without reading it again.

    Attributes:
        path: The file.
        first: Lowest data sequence that it may hold.
        size: Bytes of the file that are accounted for.
        seqs: Sequence numbers of its data records, growing.
        offsets: Where they are.
        notes: (sequence, offset) of its notes.
        closed: Whether its manifest is written.
        damages: What of it is no record; it stays in the file.
        unreported: Whether those were found just now, and not listed by the manifest.
    """

    path: Path
    first: int
    size: int = 0
    seqs: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    notes: list[tuple[int, int]] = field(default_factory=list)
    closed: bool = False
    damages: list[Damage] = field(default_factory=list)
    unreported: bool = False

    @property
    def damaged_records(self) -> int:
        """How many records were lost to damage."""
        return sum(damage.records for damage in self.damages)

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
        if record.kind is RecordKind.DATA:
            self.seqs.append(record.seq)
            self.offsets.append(offset)
        else:
            self.notes.append((record.seq, offset))
        self.size = offset + record.size

    def close(self, files: FileOps, identity: int) -> None:
        """Write the manifest, with the identity of the spool; nothing is appended afterwards."""
        body = {
            "version": _MANIFEST_VERSION,
            "file": self.path.name,
            "bytes": self.size,
            "sha256": sha256_of(self.path),
            "first": self.first,
            "last": self.last,
            "data": len(self.seqs),
            "notes": len(self.notes),
            "identity": identity,
            "damages": [asdict(damage) for damage in self.damages],
        }
        write_whole(files, self.manifest, json.dumps(body, indent=1).encode())
        self.closed = True

    def remove(self, files: FileOps) -> None:
        """Remove manifest and file, in this order: a file alone is scanned, a manifest alone would be a riddle."""
        files.remove(self.manifest)
        files.remove(self.path)

    def read(self, after: int, max_count: int, max_bytes: int) -> list[StoredRecord]:
        """Data records that follow `after`, up to the first gap; at least one, however large, when there is one.

        Raises:
            RecordError: The bytes on the disk are not what was written.
        """
        start = bisect.bisect_right(self.seqs, after)
        found: list[StoredRecord] = []
        used = 0
        for record in self.read_at(self.offsets[start : start + max_count]):
            used += record.size
            if found and (used > max_bytes or record.seq != found[-1].seq + 1):
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


def recover(path: Path, data: bytes | None = None) -> SpoolSegment:
    """Segment of a file as it is: records that are whole count, what lies between and behind them is named.

    A file whose manifest fits is taken by its headers alone; its payloads are checked when they are read.

    Args:
        path: The segment's file.
        data: Its content, to have every byte of it checked.
    """
    if data is None:
        segment = _announced(path)
        if segment is not None and _take_headers(segment):
            segment.closed = True
            return segment
        data = path.read_bytes()
    segment = SpoolSegment(path, number_and_first(path)[1])
    found = scan(data, segment.first)
    for offset, record in found.records:
        segment.note(offset, record)
    segment.size, segment.damages = len(data), list(found.damages)
    segment.unreported = bool(found.damages)
    return segment


def identity_in(path: Path) -> int:
    """Identity of the spool that a segment's manifest names, 0 when it names none."""
    try:
        return int(json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _announced(path: Path) -> SpoolSegment | None:
    """Segment with the damages that its manifest names, None when the manifest does not fit."""
    try:
        body: Any = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        fits = (body["version"], body["file"], body["bytes"]) == (_MANIFEST_VERSION, path.name, path.stat().st_size)
        damages = [Damage(**each) for each in body.get("damages", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return SpoolSegment(path, number_and_first(path)[1], damages=damages) if fits else None


def _take_headers(segment: SpoolSegment) -> bool:
    """Index a closed segment; False when its headers, and the damages that it names, do not lead to its end."""
    size, before = segment.path.stat().st_size, segment.first - 1
    jumps = {damage.start: damage.end for damage in segment.damages}
    with segment.path.open("rb") as file:
        while segment.size < size:
            offset = segment.size
            if offset in jumps:
                segment.size, before = jumps.pop(offset), -1
                if not offset <= segment.size <= size:
                    return False
                continue
            file.seek(offset)
            try:
                record = decode_header(file.read(HEADER_BYTES))[0]
            except RecordError:
                return False
            if (before >= 0 and misfit(before, record)) or record.seq < segment.last:
                return False
            segment.note(offset, record)
            before = record.seq
    return segment.size == size
