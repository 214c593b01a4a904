# SPDX-License-Identifier: Apache-2.0
"""The spool: batches of records on disk, each of them wholly there or not at all.

Every way to change what is on the disk is in this package, and always in the order: write, sync, and only then count.
One process writes (a lock sees to it); one thread of it appends, others may read pages.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from experience.core.spool.fileops import DiskFiles, FileOps
from experience.core.spool.record import RecordError, RecordKind, StoredRecord, encode
from experience.core.spool.scan import scan
from experience.core.spool.segment import SUFFIX, SpoolSegment, identity_in, number_and_first, recover, segment_path
from experience.core.spool.state import SpoolState

_LOCK = "lock"
_MIN_SEGMENTS = 4


class WhenFull(Enum):
    """What is done at the bound."""

    STOP = "stop"
    DROP_OLDEST = "drop_oldest"


class Full(Enum):
    """Why nothing can be appended."""

    BOUND = "bound"  # the spool has reached its bound
    DISK = "disk"  # the disk is full, or cannot be written


class SpoolFullError(RuntimeError):
    """A batch that was not stored; the spool is as it was before.

    Attributes:
        why: The bound or the disk.
    """

    def __init__(self, why: Full, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.why = why


@dataclass(frozen=True)
class SpoolLimits:
    """Bounds of a spool.

    Attributes:
        max_bytes: Of all segments together.
        segment_bytes: A segment is closed when it has grown to this.
        min_free_bytes: Free space below which nothing is appended.
        when_full: What is done at `max_bytes`.
        keep_acknowledged: Whether acknowledged segments stay when there is need for room.
    """

    max_bytes: int
    segment_bytes: int
    min_free_bytes: int = 0
    when_full: WhenFull = WhenFull.STOP
    keep_acknowledged: bool = True

    def __post_init__(self) -> None:
        """Refuse bounds that cannot be kept.

        Raises:
            ValueError: A segment is more than a quarter of the whole.
        """
        if not 0 < self.segment_bytes * _MIN_SEGMENTS <= self.max_bytes:
            raise ValueError(
                f"segments of {self.segment_bytes} bytes in a spool of {self.max_bytes}: at most a quarter"
            )


@dataclass(frozen=True)
class SpoolEntry:
    """One record to be appended."""

    kind: RecordKind
    schema: int
    payload: bytes


class Spool:
    """Open spool; `close` when done."""

    def __init__(self, folder: Path, limits: SpoolLimits, identity: int, files: FileOps | None = None) -> None:
        """Open a spool or make it; recover what a crash has left.

        Args:
            folder: Its folder.
            limits: Its bounds.
            identity: Of a spool that is made; an existing one keeps its own.
            files: How files are touched.

        Raises:
            BlockingIOError: Another process writes it.
            OSError: The disk refuses.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.limits = folder, limits
        self._files: FileOps = files or DiskFiles()
        self._guard = threading.RLock()
        self._handle = _lock(folder / _LOCK)
        self.lost: list[str] = []
        self._segments: list[SpoolSegment] = []
        self._dirty = False
        try:
            self._paths, strange = _segment_files(folder)
            self.lost += [f"{path.name}: its name is not that of a segment; it is left alone" for path in strange]
            named = next(filter(None, map(identity_in, self._paths)), identity)
            self._state = SpoolState.open(self._files, folder, named, self.lost)
            self._recover()
        except BaseException:
            os.close(self._handle)
            raise

    # ---- what is stored ----------------------------------------------------------------------------------------------

    @property
    def identity(self) -> int:
        """Of the spool, for its lifetime."""
        return self._state.identity

    @property
    def counters(self) -> Counter[str]:
        """What happened, by name."""
        return self._state.counters

    @property
    def acknowledged(self) -> int:
        """The learner has stored everything up to this."""
        return self._state.acknowledged

    @property
    def first(self) -> int:
        """Oldest stored sequence number; `last + 1` when nothing is stored."""
        with self._guard:
            return next((s.seqs[0] for s in self._segments if s.seqs), self.last + 1)

    @property
    def last(self) -> int:
        """Newest sequence number ever stored, 0 for none."""
        with self._guard:
            state = self._state
            # What a learner has was given out, though it may be damaged here.
            seqs = (state.dropped_through, state.floor, state.acknowledged)
            return max(*seqs, *(s.last for s in self._segments), 0)

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        with self._guard:
            return sum(s.size for s in self._segments)

    def read(self, after: int, max_count: int, max_bytes: int) -> list[StoredRecord]:
        """Data records that follow sequence number `after`, without gaps; empty when there are none.

        A record that is damaged on the disk is left out, counted and named in `lost`; the page ends before it, or
        starts behind it. So what is missing between `after` and the first of a page is gone for good.
        """
        with self._guard:
            segments = [s for s in self._segments if s.seqs and s.last > after]
        for segment in segments:
            with suppress(FileNotFoundError):  # dropped since
                try:
                    found = segment.read(after, max_count, max_bytes)
                except RecordError:
                    self._rescan(segment)
                    found = segment.read(after, max_count, max_bytes)
                if found:
                    return found
        return []

    def _rescan(self, segment: SpoolSegment) -> None:
        """Check every byte of a segment in which a record could not be read, and go on without what is damaged."""
        with self._guard:
            rescanned = recover(segment.path, segment.path.read_bytes()[: segment.size])
            segment.seqs, segment.offsets, segment.notes = rescanned.seqs, rescanned.offsets, rescanned.notes
            segment.damages, segment.unreported = rescanned.damages, True
            self._report(segment)
            if segment.closed:
                with suppress(OSError):
                    segment.close(self._files, self.identity)

    def notes(self) -> Iterator[StoredRecord]:
        """All notes, oldest first."""
        with self._guard:
            segments = list(self._segments)
        for segment in segments:
            with suppress(FileNotFoundError):
                try:
                    notes = segment.read_notes()
                except RecordError:
                    self._rescan(segment)
                    notes = segment.read_notes()
                yield from notes

    # ---- appending ---------------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[SpoolEntry]) -> tuple[int, int]:
        """Store a batch; when this returns it is on the disk.

        Returns:
            First and last sequence number of its data records (first = last + 1 when it has none).

        Raises:
            SpoolFullError: Nothing was stored.
        """
        if not entries:
            return self.last + 1, self.last
        blocks, first, last = self._encode(entries)
        data = b"".join(blocks)
        self.make_room(len(data))
        segment = self._segment_for_append()
        try:
            if self._dirty:
                self._cut_back(segment)
            self._dirty = True
            self._files.append(segment.path, data)
            self._files.sync(segment.path)
            self._dirty = False
        except OSError as error:
            with suppress(OSError):
                self._cut_back(segment)
            raise SpoolFullError(Full.DISK, f"{segment.path}: {error.strerror or error}") from error
        self._count(segment, entries, blocks, first)
        if segment.size >= self.limits.segment_bytes:
            # The batch is stored; a manifest that cannot be written now is written when the spool is opened next.
            with suppress(OSError):
                segment.close(self._files, self.identity)
            segment.closed = True
        return first, last

    def _encode(self, entries: Sequence[SpoolEntry]) -> tuple[list[bytes], int, int]:
        seq = self.last
        blocks = []
        for index, entry in enumerate(entries):
            seq += entry.kind is RecordKind.DATA
            more = index + 1 < len(entries)
            blocks.append(encode(entry.kind, seq, entry.schema, entry.payload, more=more))
        return blocks, self.last + 1, seq

    def _count(self, segment: SpoolSegment, entries: Sequence[SpoolEntry], blocks: list[bytes], first: int) -> None:
        seq = first - 1
        with self._guard:
            for entry, block in zip(entries, blocks, strict=True):
                seq += entry.kind is RecordKind.DATA
                record = StoredRecord(entry.kind, seq, entry.schema, b"", False, len(entry.payload))  # noqa: FBT003
                segment.note(segment.size, record)
                assert record.size == len(block)  # noqa: S101 - the index must point at what was written

    def _cut_back(self, segment: SpoolSegment) -> None:
        """Take away what a failed write may have left."""
        if segment.path.exists():
            self._files.truncate(segment.path, segment.size)
            self._files.sync(segment.path)
        self._dirty = False

    def _segment_for_append(self) -> SpoolSegment:
        with self._guard:
            if self._segments and not self._segments[-1].closed:
                return self._segments[-1]
            number = number_and_first(self._segments[-1].path)[0] + 1 if self._segments else 1
            segment = SpoolSegment(segment_path(self.folder, self.last + 1, number), self.last + 1)
            self._segments.append(segment)
        try:
            self._files.append(segment.path, b"")
            self._files.sync(self.folder)
        except OSError as error:
            with self._guard:
                self._segments.remove(segment)
            raise SpoolFullError(Full.DISK, f"{segment.path}: {error.strerror or error}") from error
        return segment

    # ---- room --------------------------------------------------------------------------------------------------------

    def acknowledge(self, through: int) -> None:
        """The learner has stored everything up to `through`."""
        self._state.acknowledged = max(self._state.acknowledged, min(through, self.last))

    def skip_to(self, seq: int) -> None:
        """Never give out a number up to `seq`: a learner has it, though this disk has lost it.

        For the thread that appends.

        Raises:
            SpoolFullError: The disk refuses.
        """
        with self._guard:
            if seq <= self.last:
                return
            self._state.floor = seq
            if self._segments:
                self._segments[-1].closed = True  # numbers follow one another within a segment
        try:
            self._state.write(self._files, self.folder)
        except OSError as error:
            raise SpoolFullError(Full.DISK, f"{self.folder}: {error.strerror or error}") from error

    def make_room(self, size: int) -> None:
        """See to it that `size` more bytes may be stored.

        Raises:
            SpoolFullError: They may not.
        """
        try:
            free = self._files.free_bytes(self.folder)
        except OSError as error:
            raise SpoolFullError(Full.DISK, f"{self.folder}: {error.strerror or error}") from error
        if free - size < self.limits.min_free_bytes:
            raise SpoolFullError(
                Full.DISK, f"{free / 1e6:.1f} MB free in {self.folder}, at least {self.limits.min_free_bytes / 1e6:.1f}"
            )
        while self.size + size > self.limits.max_bytes:
            oldest = self._droppable() if size <= self.limits.max_bytes else None
            if oldest is None:
                raise SpoolFullError(
                    Full.BOUND, f"{self.size / 1e6:.1f} MB stored, the bound is {self.limits.max_bytes / 1e6:.1f}"
                )
            self._drop(oldest)

    def _droppable(self) -> SpoolSegment | None:
        """Oldest segment, when it may go."""
        with self._guard:
            oldest = next(iter(self._segments), None)
        if oldest is None or not oldest.closed:
            return None
        is_free = not self.limits.keep_acknowledged and oldest.last <= self.acknowledged
        return oldest if is_free or self.limits.when_full is WhenFull.DROP_OLDEST else None

    def _drop(self, segment: SpoolSegment) -> None:
        """Remove a segment: whole batches, as no batch spans two."""
        unsent = sum(seq > self.acknowledged for seq in segment.seqs)
        with self._guard:
            self.counters["transitions_dropped"] += unsent
            self.counters["transitions_released"] += len(segment.seqs) - unsent
            if unsent:
                self.counters["episodes_dropped_oldest"] += len(segment.notes)
            self._state.dropped_through = max(self._state.dropped_through, segment.last)
        try:
            # First the state, then the file: a crash in between leaves a file that the state says is gone.
            self._state.write(self._files, self.folder)
        except OSError as error:
            raise SpoolFullError(Full.DISK, f"{self.folder}: {error.strerror or error}") from error
        with self._guard:
            self._segments.remove(segment)
        with suppress(OSError):
            segment.remove(self._files)

    # ---- recovery ----------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """All segments; one in which anything is damaged takes no more records, and keeps every byte that it has."""
        segments = self._segments
        for path in self._paths:
            segment = recover(path)
            if segment.seqs and segment.last <= self._state.dropped_through:
                segment.remove(self._files)  # its removal was cut short
                continue
            segments.append(segment)
        for number, segment in enumerate(segments, start=1):
            self._report(segment)
            if (number < len(segments) or segment.damages) and not segment.closed:
                # A manifest that cannot be written now is written when the spool is opened next.
                with suppress(OSError):
                    segment.close(self._files, self.identity)
                segment.closed = True

    def _report(self, segment: SpoolSegment) -> None:
        """Name what was found damaged just now."""
        if segment.unreported:
            self.lost += [f"{segment.path.name}: {damage}" for damage in segment.damages]
            self.counters["segments_cut"] += any(not damage.records for damage in segment.damages)
            segment.unreported = False
        self.counters["records_damaged"] = self.damaged_records

    @property
    def damaged_records(self) -> int:
        """How many of the stored records cannot be read."""
        with self._guard:
            return sum(segment.damaged_records for segment in self._segments)

    def close(self) -> None:
        """Save the state and let go of the lock; safe to call twice."""
        if self._handle < 0:
            return
        with suppress(OSError):
            self._state.write(self._files, self.folder)
        os.close(self._handle)
        self._handle = -1


def _lock(path: Path) -> int:
    """Handle that holds the lock until it is closed, or its process ends however it ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _segment_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files of segments in their order, and those that only end like one."""
    paths, strange = [], []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            number_and_first(path)
        except ValueError:
            strange.append(path)
        else:
            paths.append(path)
    return paths, strange


def read_all(folder: Path, lost: list[str] | None = None) -> Iterator[StoredRecord]:
    """All records of a spool, oldest first, without a lock: for tools beside or after the writer.

    Args:
        folder: Of the spool.
        lost: Takes a sentence for each damaged place, which is passed over.
    """
    for path in _segment_files(folder)[0]:
        found = scan(path.read_bytes(), number_and_first(path)[1])
        if lost is not None:
            lost += [f"{path}: {damage}" for damage in found.damages if damage.records]
        yield from (record for _offset, record in found.records)
