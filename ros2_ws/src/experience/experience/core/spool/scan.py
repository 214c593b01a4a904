# SPDX-License-Identifier: Apache-2.0
"""All whole records of a segment, whatever has happened to the bytes between them.

A write that was cut short leaves a torn tail: a batch without its end, and nothing whole behind it. It was never
reported as stored, so it does not count. Anything else is damage: it costs the records that it touches and no others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from experience.core.spool.record import (
    HEADER_BYTES,
    LENGTH_OFFSET,
    MAGIC,
    RecordError,
    RecordKind,
    StoredRecord,
    decode,
    decode_header,
)

_LENGTH_BYTES = 4


@dataclass(frozen=True)
class Damage:
    """Bytes of a segment that are no whole record.

    Attributes:
        start: First byte.
        end: Behind the last one.
        records: How many records were there, as far as the numbers around them tell; 0 for a torn tail.
        text: What was found.
    """

    start: int
    end: int
    records: int
    text: str

    def __str__(self) -> str:
        """In words."""
        what = f"{self.records} damaged record(s)" if self.records else "a write that was cut short"
        return f"{what}, {self.end - self.start} bytes after {self.start}: {self.text}"


@dataclass(frozen=True)
class Scan:
    """What is left of a segment.

    Attributes:
        records: (offset, record) of all that count, with payloads.
        damages: What lies between and behind them, in the order of the file.
    """

    records: tuple[tuple[int, StoredRecord], ...]
    damages: tuple[Damage, ...]


def misfit(before: int, record: StoredRecord) -> str:
    """Why a record cannot follow data record `before`: old bytes may be whole records of another time."""
    expected = before + (record.kind is RecordKind.DATA)
    return "" if record.seq == expected else f"record {record.seq} after {before}"


def scan(data: bytes, first: int = 0) -> Scan:
    """All records of a segment that count.

    Args:
        data: Bytes of the file.
        first: Sequence number that its first data record should have, 0 when it is not known.
    """
    view, found, damages = memoryview(data), list[tuple[int, StoredRecord]](), list[Damage]()
    offset, before = 0, first - 1 if first else None
    while offset < len(view):
        try:
            record = _fitting(view, offset, before)
        except RecordError as error:
            damage = _damaged(view, data, offset, before, str(error))
            damages.append(damage)
            offset = damage.end
            before = None if offset < len(view) else before
            continue
        found.append((offset, record))
        offset, before = offset + record.size, record.seq
    return _without_torn_tail(view, found, damages)


def _fitting(view: memoryview, offset: int, before: int | None) -> StoredRecord:
    record = decode(view[offset:])
    if before is not None and (problem := misfit(before, record)):
        raise RecordError(problem)
    return record


def _damaged(view: memoryview, data: bytes, start: int, before: int | None, text: str) -> Damage:
    """The bytes up to the next whole record that is not older than what came before."""
    place = start - 1
    while (place := data.find(MAGIC, place + 1)) >= 0:
        try:
            record = decode(view[place:])
        except RecordError:
            continue
        least = (before or 0) + (record.kind is RecordKind.DATA)
        if record.seq >= least:
            return Damage(start, place, max(1, record.seq - least if before is not None else 1), text)
    return Damage(start, len(view), 1, text)


def _without_torn_tail(view: memoryview, found: list[tuple[int, StoredRecord]], damages: list[Damage]) -> Scan:
    """Take away the records of a batch whose end was never written."""
    tail = damages[-1] if damages and damages[-1].end == len(view) else None
    if tail is not None and (count := _written(view[tail.start :])):
        return Scan(tuple(found), (*damages[:-1], replace(tail, records=count)))
    between = damages[:-1] if tail is not None else damages
    last_run = between[-1].end if between else 0
    whole = len(found)
    while whole and found[whole - 1][1].more and found[whole - 1][0] >= last_run:
        whole -= 1
    if tail is None and whole == len(found):
        return Scan(tuple(found), tuple(damages))
    start = found[whole][0] if whole < len(found) else (tail or damages[-1]).start
    torn = Damage(start, len(view), 0, tail.text if tail else "a batch without its end")
    return Scan(tuple(found[:whole]), (*between, torn))


def _written(rest: memoryview) -> int:
    """How many records the last bytes of a file were before they were damaged; 0 when they are the start of a write.

    The lengths of whole records lead to the end of the file; or it is the last length that is damaged, and all the rest
    is as written.
    """
    offset = count = 0
    while (size := len(rest) - offset - HEADER_BYTES) >= 0:
        count += 1
        place = offset + LENGTH_OFFSET
        length = int.from_bytes(rest[place : place + _LENGTH_BYTES], "little")
        if length == size or _is_whole_with(rest[offset:], size):
            return count
        try:
            offset += decode_header(rest[offset:])[0].size
        except RecordError:
            break
    return 0


def _is_whole_with(rest: memoryview, length: int) -> bool:
    """Whether bytes are a record whose length field alone is damaged."""
    mended = bytearray(rest)
    mended[LENGTH_OFFSET : LENGTH_OFFSET + _LENGTH_BYTES] = length.to_bytes(_LENGTH_BYTES, "little")
    try:
        decode(bytes(mended))
    except RecordError:
        return False
    return True
